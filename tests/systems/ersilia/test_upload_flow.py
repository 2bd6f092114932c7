"""Requests too big for one call: a file is put, a job predicts, and files answer for every molecule once."""

import csv
import gzip
from collections.abc import Iterator

import httpx
import pytest

from limner.testing.local_server import LocalServer
from tests.systems.ersilia.door_server import MOLECULES, serving, token, write_project
from tests.waiting import until

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


def ran(server: LocalServer, content: bytes) -> dict[str, object]:
    """The result of a request with this file."""
    request = opened(server)
    server.client.put(request["upload_url"], content=content).raise_for_status()
    job = server.client.post(f"/api/v1/requests/{request['request']}:run").raise_for_status().json()["job"]
    until(lambda: server.client.get(f"/api/v1/jobs/{job}").raise_for_status().json()["ended"])
    place = f"/api/v1/requests/{request['request']}/result"
    until(lambda: server.client.get(place).status_code == httpx.codes.OK)
    found: dict[str, object] = server.client.get(place).json()
    return found


def rows_of(server: LocalServer, file: object) -> list[list[str]]:
    """The rows of a file of a result, which needs no token."""
    assert isinstance(file, dict)
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
