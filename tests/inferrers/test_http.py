"""An inferrer behind HTTP: two protocols against a real server on loopback, and what goes wrong on the way."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from limner.domain.outputs import Vector
from limner.domain.reads import FileRead
from limner.domain.values import Value, encode
from limner.errors import InferrerBroken
from limner.inferrers.base import InferrerUnavailable, OutputsMiscounted
from limner.inferrers.connect import describe, load_inferrer
from limner.inferrers.host import Host
from limner.inferrers.http import RequestRefused
from tests.inferrers.cases import NO_VALUE, codes_of, run_files, run_values, runtime, values_of
from tests.inferrers.model_server import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model server on loopback."""
    running = ModelServer()
    yield running
    running.stop()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client that ignores the environment's proxies."""
    with httpx.Client(trust_env=False, timeout=5) as made:
        yield made


def host_of(client: httpx.Client, *, reads: dict[str, FileRead | None] | None = None, **params: Value) -> Host:
    """A host of an inferrer behind HTTP."""
    return Host(runtime("http", reads=reads, params=params), client=client)


def test_plain_json(server: ModelServer, client: httpx.Client) -> None:
    """One request carries the batch, one output comes for each input."""
    # given
    server.respond = lambda path, body, headers: (200, {"outputs": [{"y": 2 * row["x"]} for row in body["inputs"]]})

    # when
    outcomes = run_values(host_of(client, url=f"{server.url}/double"), 1, 2, 3)

    # then
    assert values_of(outcomes) == [{"y": 2}, {"y": 4}, {"y": 6}]
    assert [(path, body) for path, body, _ in server.asked] == [
        ("/double", {"inputs": [{"x": 1}, {"x": 2}, {"x": 3}]}),
    ]


def test_error_of_one_item_fails_one_record(server: ModelServer, client: httpx.Client) -> None:
    """An item with `error` fails its record, with the code and reason that it may name."""
    # given
    outputs: Value = [1, {"error": "too dark"}, {"error": "no key", "code": "INPUT_INVALID", "reason": "bad_key"}]
    server.respond = lambda path, body, headers: (200, {"outputs": outputs})

    # when
    outcomes = run_values(host_of(client, url=server.url), 1, 2, 3)

    # then
    assert codes_of(outcomes) == [None, "MODEL_ERROR", "INPUT_INVALID"]
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.message == "too dark"
    assert outcomes[2].failure is not None
    assert outcomes[2].failure.reason == "bad_key"


def test_files_travel_as_base64_or_by_path(server: ModelServer, client: httpx.Client, tmp_path: Path) -> None:
    """A file's bytes are sent, or where the server sees the same disk its address."""
    # given
    path = tmp_path / "picture.bin"
    path.write_bytes(b"\xff\xd8 some bytes")
    server.respond = lambda path, body, headers: (200, {"outputs": [0]})
    reads: dict[str, FileRead | None] = {"image": FileRead()}

    # when
    run_files(host_of(client, reads=reads, url=server.url), path)
    run_files(host_of(client, reads=reads, url=server.url, files="path"), path)

    # then
    sent = [body["inputs"][0]["image"] for _, body, _ in server.asked]
    assert base64.b64decode(sent[0]["b64"]) == path.read_bytes()
    assert sent[1] == path.resolve().as_uri()


def test_values_travel_as_json(server: ModelServer, client: httpx.Client) -> None:
    """Vectors are lists, bytes base64, nested values and absent ones themselves."""
    # given
    server.respond = lambda path, body, headers: (200, {"outputs": [0] * len(body["inputs"])})
    values = [np.array([1, 2], dtype=np.float32), b"ab", {"a": [b"c", None]}, "text", None]

    # when
    run_values(host_of(client, url=server.url), *values)

    # then
    sent = [row["x"] for row in server.asked[0][1]["inputs"]]
    assert sent == [[1.0, 2.0], {"b64": "YWI="}, {"a": [{"b64": "Yw=="}, None]}, "text", None]


def test_open_inference_protocol(server: ModelServer, client: httpx.Client) -> None:
    """Columns travel as typed tensors, and rows of the output tensors come back as numbers, text and vectors."""
    # given
    reads: dict[str, FileRead | None] = dict.fromkeys(("vector", "number", "flag", "word"))
    server.respond = lambda path, body, headers: (
        200,
        {
            "outputs": [
                {"name": "embedding", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
                {"name": "score", "shape": [2, 1], "datatype": "FP64", "data": [0.5, 0.25]},
                {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["cat", "dog"]},
            ]
        },
    )
    wanted = runtime(
        "http",
        reads=reads,
        params={"url": server.url, "protocol": "v2", "model": "small"},
        outputs={},
    )
    columns = {
        "vector": [encode(np.array([1, 2], dtype=np.float32)), encode([3.0, 4.0])],
        "number": [encode(1), encode(2)],
        "flag": [encode(True), encode(False)],
        "word": [encode("a"), encode("b")],
    }

    # when
    found = values_of(Host(wanted, client=client).run(columns, prior=[b"", b""]).outcomes)

    # then
    path, body, _ = server.asked[0]
    assert path == "/v2/models/small/infer"
    assert {tensor["name"]: (tensor["datatype"], tensor["shape"], tensor["data"]) for tensor in body["inputs"]} == {
        "vector": ("FP32", [2, 2], [1, 2, 3, 4]),
        "number": ("INT64", [2], [1, 2]),
        "flag": ("BOOL", [2], [True, False]),
        "word": ("BYTES", [2], ["a", "b"]),
    }
    assert [row["embedding"].tolist() for row in found] == [[1, 2], [3, 4]]
    assert [(row["score"], row["label"]) for row in found] == [(0.5, "cat"), (0.25, "dog")]


def test_open_inference_protocol_errors_by_record(server: ModelServer, client: httpx.Client) -> None:
    """A tensor `error` fails the records for which it holds text; an absent input fails its record alone."""

    # given
    def respond(path: str, body: Value, headers: dict[str, str]) -> tuple[int, Value]:
        data = body["inputs"][0]["data"]
        texts = ["" if number > 0 else "not positive" for number in data]
        count = len(data)
        return 200, {
            "outputs": [
                {"name": "root", "shape": [count], "datatype": "FP64", "data": [1.0] * count},
                {"name": "error", "shape": [count], "datatype": "BYTES", "data": texts},
            ]
        }

    server.respond = respond
    host = host_of(client, url=server.url, protocol="v2", model="root")

    # when
    outcomes = run_values(host, 4, -1, 9)
    (absent,) = host.run({"x": [NO_VALUE]}, prior=[b""]).outcomes

    # then
    assert codes_of(outcomes) == [None, "MODEL_ERROR", None]
    assert values_of(outcomes)[0] == {"root": 1.0}
    assert codes_of([absent]) == ["INPUT_INVALID"]


def _answer(*tensors: Value) -> tuple[int, Value]:
    return 200, {"outputs": list(tensors)}


def test_codes_beside_errors_are_those_of_their_records(server: ModelServer, client: httpx.Client) -> None:
    """Codes may stand as parameters of the errors, as Limner's own door answers, or in tensors of their own."""
    # given
    texts = ["", "no picture there", "odd"]
    error = {"name": "error", "shape": [3], "datatype": "BYTES", "data": texts}
    values = {"name": "v", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, None, None, None, None]}
    codes = [None, "SOURCE_NOT_FOUND", "no code of ours"]
    beside = {**error, "parameters": {"codes": codes, "reasons": [None, "gone", None]}}
    tensors = {"name": "code", "shape": [3], "datatype": "BYTES", "data": ["", "INPUT_INVALID", ""]}
    host = host_of(client, url=server.url, protocol="v2", model="m")

    # when
    server.respond = lambda path, body, headers: _answer(values, beside)
    by_parameter = run_values(host, 1, 2, 3)
    server.respond = lambda path, body, headers: _answer(values, error, tensors)
    by_tensor = run_values(host, 1, 2, 3)

    # then
    assert codes_of(by_parameter) == [None, "SOURCE_NOT_FOUND", "MODEL_ERROR"]
    assert by_parameter[1].failure is not None
    assert by_parameter[1].failure.reason == "gone"
    assert codes_of(by_tensor) == [None, "INPUT_INVALID", "MODEL_ERROR"]
    assert [list(value) for value in (values_of(by_parameter)[0], values_of(by_tensor)[0])] == [["v"], ["v"]]


def test_a_bad_row_fails_its_record_alone(server: ModelServer, client: httpx.Client) -> None:
    """A row with a word, with nothing, or with a number that is none: OUTPUT_INVALID for it, and for no other."""
    # given
    rows = b'[0.5, 1.5], [0.5, "two"], [NaN, 1.0], [null, 1.0], [2.5, 3.5]'
    body = b'{"outputs": [{"name": "v", "shape": [5, 2], "datatype": "FP32", "data": [' + rows + b"]}]}"
    server.respond = lambda path, asked, headers: (200, body)
    params: dict[str, Value] = {"url": server.url, "protocol": "v2", "model": "m"}
    host = Host(runtime("http", params=params, outputs={"v": Vector(length=2)}), client=client)

    # when
    outcomes = run_values(host, 1, 2, 3, 4, 5)

    # then
    bad = "OUTPUT_INVALID"
    assert codes_of(outcomes) == [None, bad, bad, bad, None]
    assert len(server.asked) == 1


def test_vectors_of_a_server_are_checked_and_stored_as_float32(server: ModelServer, client: httpx.Client) -> None:
    """What a server answers keeps the stage's declaration or is refused, record by record."""
    # given
    server.respond = lambda path, body, headers: (200, {"outputs": [{"v": [0.6, 0.8]}, {"v": [6, 8]}]})
    wanted = runtime("http", params={"url": server.url}, outputs={"v": Vector(length=2, unit=True)})

    # when
    outcomes = run_values(Host(wanted, client=client), 1, 2)

    # then
    assert codes_of(outcomes) == [None, "OUTPUT_INVALID"]
    assert values_of(outcomes)[0]["v"].dtype == np.float32


@pytest.mark.parametrize("status", [429, 503, 502, 504])
def test_busy_server_is_unavailable(server: ModelServer, client: httpx.Client, status: int) -> None:
    """A server that is busy blames no record, even one alone, and its Retry-After is kept."""
    # given
    server.headers = {"retry-after": "7"}
    server.respond = lambda path, body, headers: (status, {})

    # when
    with pytest.raises(InferrerUnavailable, match=str(status)) as raised:
        run_values(host_of(client, url=server.url), 1)

    # then
    assert raised.value.retry_after == 7.0


def test_absent_server_is_unavailable(server: ModelServer, client: httpx.Client) -> None:
    """No connection, and an address or token that is refused, blame no record."""
    # given
    host = host_of(client, url=server.url)

    # when / then
    with pytest.raises(InferrerUnavailable, match="check its address"):
        run_values(host, 1)
    server.stop()
    with pytest.raises(InferrerUnavailable, match="cannot be reached"):
        run_values(host, 1)


def test_refused_batch_is_isolated(server: ModelServer, client: httpx.Client) -> None:
    """Another error status is raised for a batch; of a record alone it is the failure, with the code it may name."""
    # given
    server.respond = lambda path, body, headers: (500, {"detail": "boom"})
    host = host_of(client, url=server.url)

    # when / then
    with pytest.raises(RequestRefused, match="500"):
        run_values(host, 1, 2)
    assert codes_of(run_values(host, 1)) == ["MODEL_ERROR"]
    server.respond = lambda path, body, headers: (422, {"detail": "no picture", "code": "SOURCE_WRONG_TYPE"})
    assert codes_of(run_values(host, 1)) == ["SOURCE_WRONG_TYPE"]


@pytest.mark.parametrize("answer", [{"outputs": [1]}, {"outputs": [1, 2, 3]}, {}, [1, 2], {"outputs": {"a": 1}}])
def test_wrong_number_of_outputs_is_told(server: ModelServer, client: httpx.Client, answer: Value) -> None:
    """Two inputs have two outputs, or none counts."""
    server.respond = lambda path, body, headers: (200, answer)
    with pytest.raises(OutputsMiscounted):
        run_values(host_of(client, url=server.url), 1, 2)


def test_answer_that_is_no_json_is_refused(server: ModelServer, client: httpx.Client) -> None:
    """A page in place of JSON is raised, not stored."""
    server.respond = lambda path, body, headers: (200, b"<html>welcome</html>")
    with pytest.raises(RequestRefused, match="not JSON"):
        run_values(host_of(client, url=server.url), 1, 2)


def test_token_comes_from_the_environment(
    server: ModelServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bearer token is named, not written, in the parameters; without it nothing is asked."""
    # given
    server.respond = lambda path, body, headers: (200, {"outputs": [1]})
    host = host_of(client, url=server.url, token_env="MODEL_SERVER_TOKEN")

    # when
    monkeypatch.setenv("MODEL_SERVER_TOKEN", "open-sesame")
    run_values(host, 1)
    monkeypatch.delenv("MODEL_SERVER_TOKEN")
    with pytest.raises(InferrerBroken, match="MODEL_SERVER_TOKEN, which is not set"):
        run_values(host, 1)

    # then
    assert [headers["authorization"] for _, _, headers in server.asked] == ["Bearer open-sesame"]


def test_version_is_what_the_server_says(server: ModelServer, client: httpx.Client) -> None:
    """The model's version at the server makes the code; its uptime does not."""
    # given
    params = {"url": server.url, "protocol": "v2", "model": "small"}

    def said(**metadata: Value) -> str:
        server.respond = lambda path, body, headers: (200, {"name": "small", **metadata})
        found = describe("http", params=params, client=client)
        assert found.problem is None
        return found.code

    # when
    first, later, retrained = said(versions=["1"], uptime=3), said(versions=["1"], uptime=9), said(versions=["2"])

    # then
    assert first == later
    assert first != retrained
    assert server.asked[0][0] == "/v2/models/small"
    loaded = load_inferrer(runtime("http", params=params), model_path=None, client=client)
    assert loaded.describe().code == retrained


def test_version_without_such_a_route_is_the_parameters(server: ModelServer, client: httpx.Client) -> None:
    """A server that does not know the route, or names no version, leaves it to the parameters."""
    # given
    plain = describe("http", params={"url": server.url}, client=client)

    # when
    unknown = describe("http", params={"url": server.url, "model": "small"}, client=client)
    server.respond = lambda path, body, headers: (200, {"name": "small"})
    silent = describe("http", params={"url": server.url, "model": "small"}, client=client)

    # then
    assert plain == unknown == silent
    assert plain.problem is None


def test_server_that_cannot_be_asked_is_a_problem(server: ModelServer, client: httpx.Client) -> None:
    """An unreachable server has no version: it is not taken for one that says nothing."""
    # given
    params = {"url": server.url, "model": "small"}

    # when
    server.respond = lambda path, body, headers: (503, {})
    busy = describe("http", params=params, client=client)
    server.stop()
    gone = describe("http", params=params, client=client)

    # then
    assert "503" in (busy.problem or "")
    assert "cannot be reached" in (gone.problem or "")


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "missing required field `url`"),
        ({"url": "http://h", "protocol": "grpc"}, "not 'grpc'"),
        ({"url": "http://h", "protocol": "v2"}, "needs the parameter model"),
        ({"url": "http://h", "files": "ftp"}, "base64 or path, not 'ftp'"),
        ({"url": "http://h", "token": "secret"}, "unknown field `token`"),
    ],
)
def test_wrong_parameters_are_sentences(params: dict[str, Value], sentence: str) -> None:
    """A parameter that is unknown, missing or contradictory is told when it is loaded or described."""
    with pytest.raises(InferrerBroken, match=sentence):
        load_inferrer(runtime("http", params=params), model_path=None)
    assert describe("http", params=params).problem


def test_own_client_is_closed(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client one is made, with the stage's time limit, and closed with the inferrer."""
    # given
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.respond = lambda path, body, headers: (200, {"outputs": [1]})
    inferrer = load_inferrer(runtime("http", params={"url": server.url}), model_path=None)

    # when
    found = inferrer.infer({"x": [1]})
    inferrer.close()

    # then
    assert found == [1]
    with pytest.raises(RuntimeError, match="closed"):
        inferrer.infer({"x": [1]})
