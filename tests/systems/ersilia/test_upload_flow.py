"""Requests too big for one call: a file is put, a job predicts, and files answer for every molecule once."""

import csv
import gzip
from collections.abc import Iterator

import httpx
import pytest

from limner.domain.values import Value
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.door_server import MOLECULES, serving, token, write_project
from tests.waiting import until

#: Each has a server, a worker and a model of its own.
pytestmark = pytest.mark.slow
SMILES = ["CCO", "CCCO", "c1ccccc1", "CC(=O)O", "OCC"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server over the pipeline of molecules."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    with serving(folder) as up:
        yield up


def opened(server: LocalServer, **headers: str) -> dict[str, str]:
    """A new request."""
    answer = server.client.post("/api/v1/requests", json={"model": "eos3b5e", "format": "csv"}, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


def ran(server: LocalServer, content: bytes) -> dict[str, Value]:
    """The result of a request with this file."""
    request = opened(server)
    server.client.put(request["upload_url"], content=content).raise_for_status()
    job = server.client.post(f"/api/v1/requests/{request['request']}:run").raise_for_status().json()["job"]
    until(lambda: server.client.get(f"/api/v1/jobs/{job}").raise_for_status().json()["ended"])
    place = f"/api/v1/requests/{request['request']}/result"
    until(lambda: server.client.get(place).status_code == httpx.codes.OK)
    found: dict[str, Value] = server.client.get(place).json()
    return found


def rows_of(server: LocalServer, file: Value) -> list[list[str]]:
    """The rows of a file of a result, which needs no token."""
    data = httpx.get(file["url"]).raise_for_status().content
    assert len(data) == file["size"]
    return list(csv.reader(gzip.decompress(data).decode().splitlines()))


def test_e15_upload_flow(server: LocalServer) -> None:
    """What was asked is answered, each molecule once, in files with a header."""
    # when
    result = ran(server, "".join(f"{one}\n" for one in SMILES).encode())

    # then
    (file,) = result["files"]
    assert file["key"].endswith(".csv.gz")
    header, *rows = rows_of(server, file)
    assert header[:2] == ["key", "input"]
    assert [row[1] for row in rows] == SMILES[:4]
    assert (result["answered"], result["missing"]) == (4, 0)
    assert float(rows[0][2]) == pytest.approx(46.069, abs=0.001)


def test_e15_upload_flow_of_a_file_with_keys_and_faults(server: LocalServer) -> None:
    """Rows that cannot be answered stand in a file of their own with the reason; their neighbours are answered."""
    # given
    ethanol, methane = "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "VNWKTOKETHGBQD-UHFFFAOYSA-N"
    lines = ["key,input", f"{ethanol},CCO", f"{methane},C1CC", f"{methane},CC", "nothing,CCC", f"{methane},C"]

    # when
    result = ran(server, "\r\n".join(lines).encode())

    # then
    (file,) = result["files"]
    assert [row[:2] for row in rows_of(server, file)[1:]] == [[ethanol, "CCO"], [methane, "C"]]
    reasons = {row[0]: row[4] for row in rows_of(server, result["set_aside"])[1:]}
    assert reasons == {"2": "bad_smiles", "3": "key_mismatch", "4": "bad_key"}
    assert (result["answered"], result["missing"]) == (2, 3)


def test_e15_upload_flow_fills_the_table(server: LocalServer) -> None:
    """What a file had predicted can be looked up by key from then on."""
    # given
    decane = "DIOQZVSQGTUSAI-UHFFFAOYSA-N"
    ran(server, b"CCCCCCCCCC")

    # when
    asked = {"modelId": "eos3b5e", "inputKeyArray": [decane]}
    (found,) = server.client.post("/predictions", json=asked).json()["output"]

    # then
    assert found["smiles"] == "CCCCCCCCCC"
    assert found["value"] == [pytest.approx(142.286, abs=0.001)]


def test_e15_upload_flow_runs_once(server: LocalServer) -> None:
    """A request that is run twice has one job, and takes no other file then."""
    # given
    request = opened(server)
    server.client.put(request["upload_url"], content=b"CCO\n").raise_for_status()
    place = f"/api/v1/requests/{request['request']}"

    # when
    first, second = (server.client.post(f"{place}:run").json()["job"] for _ in range(2))
    again = server.client.put(request["upload_url"], content=b"CCC\n")

    # then
    assert first == second
    assert again.status_code == httpx.codes.CONFLICT


def test_e15_upload_flow_step_by_step(server: LocalServer) -> None:
    """Whoever skips a step is told which."""
    request = opened(server)
    place = f"/api/v1/requests/{request['request']}"
    answer = server.client.post(f"{place}:run")
    assert (answer.status_code, "upload_url" in answer.json()["detail"]) == (409, True)
    answer = server.client.get(f"{place}/result")
    assert (answer.status_code, ":run" in answer.json()["detail"]) == (409, True)
    assert server.client.get("/api/v1/requests/request-0/result").status_code == httpx.codes.NOT_FOUND
    assert server.client.get("/api/v1/requests/..%2Frequests/result").status_code == httpx.codes.NOT_FOUND
    answer = server.client.post("/api/v1/requests", json={"model": "eos0zzz"})
    assert (answer.status_code, "eos3b5e" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("content", [b"smiles\n", b"", b"a,b\n"], ids=["header only", "empty", "no molecule"])
def test_e15_upload_flow_without_molecules(server: LocalServer, content: bytes) -> None:
    """A file in which there is no molecule is refused before there is a job."""
    request = opened(server)
    server.client.put(request["upload_url"], content=content).raise_for_status()
    answer = server.client.post(f"/api/v1/requests/{request['request']}:run")
    assert (answer.status_code, "molecule" in answer.json()["detail"]) == (422, True)


def test_e15_upload_flow_too_large(server: LocalServer) -> None:
    """A file beyond a hundred megabytes is refused while it comes, and nothing of it stays."""
    # given
    request = opened(server)

    # when
    answer = server.client.put(request["upload_url"], content=(b"C" * 1_000_000 for _ in range(102)))

    # then
    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    left = server.host.app.project.home / "requests" / request["request"]
    assert [file.name for file in left.iterdir()] == ["request.json"]


def test_e15_upload_flow_with_tokens(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With tokens about, the links that were handed out need none, and nothing else goes without."""
    folder = write_project(tmp_path_factory.mktemp("guarded"), pipeline=MOLECULES)
    with serving(folder) as server:
        # given
        key = {"authorization": f"Bearer {token(server, 'submit', 'read')}"}
        request = opened(server, **key)
        url = request["upload_url"]

        # when
        refused = [
            server.client.post("/api/v1/requests", json={"model": "eos3b5e"}),
            server.client.put(url.partition("?")[0], content=b"CCO"),
            server.client.put(url.replace("signature=", "signature=x"), content=b"CCO"),
            server.client.put(url.replace("/upload", "/result"), content=b"CCO"),
            server.client.post(f"/api/v1/requests/{request['request']}:run"),
        ]
        taken = server.client.put(url, content=b"CCO")

    # then
    assert [answer.status_code for answer in refused] == [401, 401, 401, 405, 401]
    assert taken.status_code == httpx.codes.NO_CONTENT
