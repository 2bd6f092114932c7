"""Models over HTTP: listed, moved by those who may, and handed out to everybody only where they were published."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import Served, serving
from tests.waiting import until


@pytest.fixture
def stocked(project: Path, tmp_path: Path) -> Iterator[Served]:
    """A server with two versions of one model."""
    with serving(project) as served:
        registry = served.projects.root.registry
        for number in (1, 2):
            file = tmp_path / f"weights-{number}.bin"
            file.write_bytes(b"weights" * number)
            registry.add("weights", file, licence="CC0-1.0" if number == 2 else None)
        yield served


def test_models_are_listed(stocked: Served) -> None:
    """A model is shown with its aliases and versions, a version with all that is known of it."""
    # when
    model = stocked.client.get("/api/v1/models/weights").json()
    versions = stocked.client.get("/api/v1/models/weights/versions").json()["items"]
    card = stocked.client.get("/api/v1/models/weights/versions/2").json()

    # then
    assert model == {"name": "weights", "aliases": {"champion": 1}, "versions": [1, 2]}
    assert [entry["version"]["number"] for entry in versions] == [1, 2]
    assert card["version"]["licence"] == "CC0-1.0"
    assert stocked.client.get("/api/v1/models").json()["items"] == [model]
    assert stocked.client.get("/api/v1/models/nothing").status_code == 404
    assert stocked.client.get("/api/v1/models/weights/versions/9").status_code == 404


def test_promote_and_roll_back(stocked: Served) -> None:
    """An alias is moved on and back by those with the scope admin."""
    # when
    promoted = stocked.client.post("/api/v1/models/weights/promote", json={"version": 2}).json()
    back = stocked.client.post("/api/v1/models/weights/rollback").json()
    further = stocked.client.post("/api/v1/models/weights/rollback")

    # then
    assert (promoted["alias"], promoted["version"]) == ("champion", 2)
    assert back["version"] == 1
    assert further.status_code == 422


def test_files_of_public_models_only(stocked: Served) -> None:
    """Without a token only a published file is handed out; with one every file, each with its digest."""
    # given
    registry = stocked.projects.root.registry
    registry.publish("weights@2")
    read = stocked.token("read")
    until(lambda: stocked.client.get("/api/v1/jobs").status_code == 401)

    # when
    public = stocked.client.get("/api/v1/models/weights/versions/2/file")
    private = stocked.client.get("/api/v1/models/weights/versions/1/file")
    permitted = stocked.client.get("/api/v1/models/weights/versions/1/file", headers=read)

    # then
    assert public.content == b"weights" * 2
    assert public.headers["limner-model-digest"] == registry.find("weights@2").sha256
    assert private.status_code == 403
    assert permitted.content == b"weights"
