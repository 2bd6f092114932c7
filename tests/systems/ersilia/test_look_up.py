"""The look-up as the original's clients speak it, over HTTP and over a real table."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from limner.systems.ersilia.columns import Column, ColumnType
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.asked import CASES, FAILED, STORED, Case, request, told
from tests.systems.ersilia.door_server import serving, token, write_project
from tests.systems.ersilia.shelved import failed, key_of, predicted, release_of, shelve, table_of

COLUMNS = (
    Column(name="charge", type=ColumnType.FLOAT),
    Column(name="rings", type=ColumnType.INTEGER),
    Column(name="kind", type=ColumnType.STRING),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server over a table with some thousand predictions of one model, and one of another."""
    folder = write_project(tmp_path_factory.mktemp("project"))
    table = table_of(folder)
    shelve(table, [*(predicted(number) for number in STORED), failed(FAILED)])
    odd = predicted(1, None, 0, "linear")
    shelve(table, [odd], release=release_of(model="eos8a4x", columns=COLUMNS))
    table.close()
    with serving(folder) as up:
        yield up


@pytest.fixture(scope="module")
def key(server: LocalServer) -> dict[str, str]:
    """The header that clients of the original send."""
    return {"x-api-key": token(server, "read")}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_e13_look_up_of_the_original(server: LocalServer, key: dict[str, str], method: str, case: Case) -> None:
    """Every kind of request is answered as the contract says, by either method."""
    # when
    answer = server.client.request(method, "/predictions", content=case.body, headers=key)

    # then
    assert answer.status_code == case.status, answer.text
    if case.holds is None:
        assert answer.content == b""
    else:
        assert case.holds(answer.json()), answer.text
        problem = case.status >= 400
        assert answer.headers["content-type"] == ("application/problem+json" if problem else "application/json")


def test_e13_look_up_below_the_prefix(server: LocalServer, key: dict[str, str]) -> None:
    """The same is there below the prefix that the original's gateway has."""
    answer = server.client.request("GET", "/dev/predictions", content=request(4, 5), headers=key)
    assert answer.json() == told(4, 5)


def test_e13_look_up_by_query(server: LocalServer, key: dict[str, str]) -> None:
    """Where a proxy drops the body of a GET, the query says the same."""
    # given
    query = {"modelId": "eos3b5e", "inputKeyArray": [key_of(8), key_of(99_999), key_of(6)]}

    # when
    answer = server.client.get("/predictions", params=query, headers=key)

    # then
    assert answer.json() == told(8, 6, missing=(99_999,))


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"x-api-key": ""}], ids=["none", "wrong", "empty"])
def test_e13_look_up_without_a_key(server: LocalServer, key: dict[str, str], headers: dict[str, str]) -> None:
    """Whoever brings no key, or a wrong one, is told so in the gateway's own words."""
    assert key
    answer = server.client.request("GET", "/predictions", content=request(1), headers=headers)
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


def test_e13_look_up_with_a_key_for_something_else(server: LocalServer, key: dict[str, str]) -> None:
    """A token that does not read is refused alike."""
    assert key
    headers = {"x-api-key": token(server, "submit")}
    answer = server.client.request("GET", "/predictions", content=request(1), headers=headers)
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


def test_e13_look_up_while_the_table_is_away(tmp_path: Path) -> None:
    """A table that cannot be opened is 503, with the time after which to ask again."""
    # given
    folder = write_project(tmp_path / "project")
    (folder / ".limner" / "predictions.db").mkdir(parents=True)

    # when
    with serving(folder) as server:
        answer = server.client.request("GET", "/predictions", content=request(1))

    # then
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["status"] == 503


@pytest.mark.parametrize("known", ["eos3b5e", "eos8a4x"])
def test_a_model_is_known_once_it_has_predictions(server: LocalServer, key: dict[str, str], known: str) -> None:
    """A client can ask whether there is a model before it asks about molecules."""
    headers = {"authorization": f"Bearer {key['x-api-key']}"}
    assert server.client.get("/model", params={"modelid": known}, headers=headers).json() is True
    assert server.client.get("/model", params={"modelid": "eos0zzz"}, headers=headers).json() is False


def test_e14_values_are_json(server: LocalServer, key: dict[str, str]) -> None:
    """No value is null, a whole number is whole, a text is a text, and NaN is no word of an answer."""
    # when
    body = request(1, model="eos8a4x")
    answer = server.client.request("GET", "/predictions", content=body, headers=key)

    # then
    assert answer.json()["output"][0]["value"] == [None, 0, "linear"]
    assert "NaN" not in answer.text
    assert isinstance(msgspec.json.decode(answer.content)["output"][0]["value"][1], int)


@pytest.mark.timed
def test_e19_five_thousand_keys_take_no_second(server: LocalServer, key: dict[str, str]) -> None:
    """Thousands of keys are looked up well within a second, connection and reading of the answer included."""
    # given
    body = request(*range(5_000))
    server.client.request("GET", "/predictions", content=request(1), headers=key)

    # when
    began = time.perf_counter()
    answer = server.client.request("GET", "/predictions", content=body, headers=key)
    took = time.perf_counter() - began

    # then
    assert len(answer.json()["output"]) == 5_000
    assert took < 1


def test_keys_of_one_answer_are_read_once(server: LocalServer, key: dict[str, str]) -> None:
    """Ten thousand times one key is one key to look up."""
    answer = server.client.request("POST", "/predictions", content=request(*[5] * 10_000), headers=key)
    assert answer.status_code == httpx.codes.OK
    assert answer.json()["output"] == told(*[5] * 10_000)["output"]
