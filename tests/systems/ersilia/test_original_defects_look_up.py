"""What the original's look-up did wrong, each as a test that it does not happen here."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from limner.domain.values import Value
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.asked import request, told
from tests.systems.ersilia.door_server import MOLECULES, serving, write_project
from tests.systems.ersilia.shelved import key_of, predicted, release_of, shelve, table_of
from tests.waiting import until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two thousand predictions of one model in its table, and one of another."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    table = table_of(folder)
    shelve(table, [predicted(number) for number in range(2_000)])
    shelve(table, [predicted(5_000, 283.239)], release=release_of(model="eos5axz"))
    table.close()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LocalServer]:
    """A server over it."""
    with serving(folder) as up:
        yield up


def test_decimals_become_json_numbers(server: LocalServer) -> None:
    """A real figure is a JSON number with the digits that it has; in the original each one crashed the look-up."""
    answer = server.client.post("/predictions", content=request(5_000, model="eos5axz"))
    assert '"value":[283.239]' in answer.text
    assert json.loads(answer.text)["output"][0]["value"] == [283.239]


@pytest.mark.parametrize("numbers", [[*range(101)], [4] * 300, []], ids=["101 keys", "one key 300 times", "no key"])
def test_many_repeated_and_no_keys_are_fine(server: LocalServer, numbers: list[int]) -> None:
    """Any number of keys, repeats and none are answered; in the original each of these was 500."""
    answer = server.client.request("GET", "/predictions", content=request(*numbers))
    assert (answer.status_code, answer.json()) == (200, told(*numbers))


@pytest.mark.parametrize("body", [b"{}", b'{"modelId": "eos3b5e"}', b"[", b'"text"'])
def test_a_missing_field_is_told(server: LocalServer, body: bytes) -> None:
    """A body that lacks something is refused with its name; the original crashed."""
    answer = server.client.request("GET", "/predictions", content=body)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"]


@pytest.mark.slow
def test_only_the_asked_rows_come_back(tmp_path: Path) -> None:
    """A model with thousands of predictions answers a file of three with three; the original sent the whole model."""
    folder = write_project(tmp_path / "project", pipeline=MOLECULES)
    (folder / "reference_library.csv").write_text("".join(f"{'C' * length}\n" for length in range(1, 101)))
    with serving(folder) as server:
        # given
        run = server.client.post("/api/v1/precalc", json={"model": "eos3b5e"}).json()["href"]
        until(lambda: server.client.get(run).json()["state"] == "done")

        # when
        result = _answered(server, b"smiles\nCCO\nCCN\nno molecule\nCCO\nCCC\n")
        rows = []
        for file in result["files"]:
            data = server.client.get(file["url"]).content
            rows += list(csv.DictReader(gzip.decompress(data).decode().splitlines()))

    # then
    assert [row["input"] for row in rows] == ["CCO", "CCN", "CCC"]
    assert len({row["key"] for row in rows}) == 3
    assert (result["answered"], result["missing"]) == (3, 1)


def _answered(server: LocalServer, content: bytes) -> Value:
    made = server.client.post("/api/v1/requests", json={"model": "eos3b5e"}).json()
    server.client.put(made["upload_url"], content=content).raise_for_status()
    place = f"/api/v1/requests/{made['request']}"
    server.client.post(f"{place}:run").raise_for_status()
    until(lambda: server.client.get(f"{place}/result").status_code == httpx.codes.OK)
    return server.client.get(f"{place}/result").json()


@pytest.mark.parametrize("key", ["'; drop table predictions; --", '" or 1=1', "%", "_" * 27, "\0", "INPUTKEY#x", "🧪"])
def test_ids_in_requests_are_never_sql(server: LocalServer, key: str) -> None:
    """Whatever stands where a key or a model should is just not known, and harms nothing."""
    # when
    asked = {"modelId": "eos3b5e", "inputKeyArray": [key, key_of(1)]}
    answer = server.client.post("/predictions", json=asked).json()
    of_model = server.client.post("/predictions", json={"modelId": key, "inputKeyArray": [key_of(1)]})

    # then
    assert answer["missing"] == [key]
    assert [one["key"] for one in answer["output"]] == [key_of(1)]
    assert of_model.json()["missing"] == [key_of(1)]
    assert server.client.post("/predictions", content=request(1)).json() == told(1)


def test_routes_are_the_ones_the_client_calls(server: LocalServer) -> None:
    """Each address that a client calls does what its name says, by its own method; in the original two were swapped."""
    routes = {
        ("GET", "/predictions"): "Predictions by key",
        ("POST", "/predictions"): "Predictions by key",
        ("GET", "/model"): "Whether there is a model",
        ("POST", "/api/v1/predictions"): "Predictions of molecules, one to one",
        ("GET", "/api/v1/predictions/{model}/{key}"): "One prediction by its key",
        ("POST", "/api/v1/requests"): "Ask for a place to put a file",
        ("PUT", "/api/v1/requests/{request}/upload"): "Put the file",
        ("POST", "/api/v1/requests/{request}:run"): "Predict its molecules",
        ("GET", "/api/v1/requests/{request}/result"): "The files of the result",
        ("GET", "/upload-destination"): "Where a file is put",
        ("POST", "/upload-destination/{request}"): "Put the file, as a form",
        ("POST", "/submit"): "Predict the file's molecules, or fetch what is stored",
        ("GET", "/status"): "Where it stands",
        ("GET", "/result"): "The files of the result, without header",
        ("POST", "/api/v1/precalc"): "Put a library through a model",
        ("GET", "/api/v1/models"): "Models",
    }
    paths = server.client.get("/openapi.json").json()["paths"]
    assert {(method, path): paths[path][method.lower()]["summary"] for method, path in routes} == routes


def test_nothing_is_taken_for_stored_that_is_not(server: LocalServer) -> None:
    """Of twenty thousand keys that are not there, none is answered; the original's filter took one in a thousand."""
    for start in (10_000, 20_000):
        numbers = range(start, start + 10_000)
        answer = server.client.post("/predictions", content=request(*numbers)).json()
        assert answer["output"] == []
        assert answer["missing"] == [key_of(number) for number in numbers]
