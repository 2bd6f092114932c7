"""One contract over every backend of the artifacts."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner.artifacts.base import Artifacts
from limner.artifacts.connect import connect_artifacts, connect_far_artifacts
from limner.testing.artifacts_contract import ArtifactsContract
from tests.far.rig import Server

BACKENDS = ("folder", "http", "s3")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps artifacts."""
    with Server(tmp_path_factory.mktemp("server") / "project") as served:
        yield served


class TestEveryBackend(ArtifactsContract):
    """The contract, over a folder, a server and an object store."""

    @pytest.fixture(params=BACKENDS)
    def backend(self, request: pytest.FixtureRequest) -> str:
        """Its name."""
        return str(request.param)

    @pytest.fixture
    def elsewhere(self, backend: str) -> bool:
        """A server deletes its artifacts by itself."""
        return backend == "http"

    @pytest.fixture
    def artifacts(self, backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Artifacts]:
        """One that is empty, as a setting names it."""
        copies = tmp_path / "copies"
        if backend == "folder":
            yield connect_artifacts(str(tmp_path / "artifacts"))
        elif backend == "http":
            with closing(request.getfixturevalue("server").client()) as client:
                yield connect_far_artifacts(client, copies=copies)
        else:
            yield connect_artifacts(request.getfixturevalue("s3_url"), copies=copies)
