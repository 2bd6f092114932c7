"""Molecules are asked for by their SMILES, and what is missing is computed on request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.settings import load_project
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.door_server import MOLECULES, serving, write_project
from tests.waiting import until

#: Each has a server, a worker and a model of its own.
pytestmark = pytest.mark.slow
BENZENE = "UHOVQNZJYSORNB-UHFFFAOYSA-N"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server over the pipeline of molecules."""
    folder = write_project(tmp_path_factory.mktemp("project"), pipeline=MOLECULES)
    with serving(folder) as up:
        yield up


def test_the_routes_come_with_the_pipeline(tmp_path: Path) -> None:
    """A project that declares the pipeline of molecules has the routes without asking for them."""
    folder = write_project(tmp_path / "project", pipeline=MOLECULES)
    with LocalServer(load_project(folder, environment={})) as server:
        assert server.client.get("/model", params={"modelid": "eos3b5e"}).json() is True


def test_what_is_missing_is_computed(server: LocalServer) -> None:
    """A look-up by SMILES says what is missing and makes a job for it; after that job it is there, by any spelling."""
    # given
    wanted = {"model": "eos3b5e", "smiles": ["c1ccccc1", "C1=CC=CC=C1", "no molecule", " "], "compute_missing": True}

    # when
    answer = server.client.post("/api/v1/predictions", json=wanted)
    first = answer.json()
    until(lambda: server.client.get(f"/api/v1/predictions/eos3b5e/{BENZENE}").is_success)
    later = server.client.post("/api/v1/predictions", json=wanted)

    # then
    assert answer.status_code == 202, answer.text
    assert [one["status"] for one in first["results"]] == ["missing", "missing", "failed", "failed"]
    assert [one["failure"]["code"] for one in first["results"][2:]] == ["INPUT_INVALID", "INPUT_INVALID"]
    assert server.client.get(f"/api/v1/jobs/{first['job']}").json()["state"] == "done"
    assert later.status_code == 200
    assert [one["key"] for one in later.json()["results"][:2]] == [BENZENE, BENZENE]
    assert [one["values"] for one in later.json()["results"][:2]] == [[pytest.approx(78.114, abs=0.001)]] * 2
    assert later.json()["job"] is None


def test_an_answer_names_the_environment(server: LocalServer) -> None:
    """What was computed on request says the package and RDKit that it was computed with."""
    from importlib.metadata import version

    # given
    wanted = {"model": "eos3b5e", "smiles": ["CCN"], "compute_missing": True}
    server.client.post("/api/v1/predictions", json=wanted)

    # when
    def block() -> dict[str, object]:
        found: dict[str, object] = server.client.post("/api/v1/predictions", json=wanted).json()
        return found

    until(lambda: block()["missing"] == 0)

    # then
    environment = block()["environment"]
    assert isinstance(environment, dict)
    assert environment["rdkit"] == version("rdkit")
    assert block()["package"] == server.host.app.registry.find("eos3b5e").sha256
    assert block()["complete"] is False
