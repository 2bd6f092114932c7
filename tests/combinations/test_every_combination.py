"""One contract over every bus, store and artifacts: what each room keeps alone, they keep together."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest

from limner.testing.project_contract import ProjectContract
from tests.artifacts.stores import below
from tests.store.databases import schema_url
from tools.services import ObjectStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: Who infers is the server itself on the bus in memory, and a far worker on all others. None is left out: a server on
#: SQLite may have far workers over a broker as well as over HTTP, and none of them shares a folder with it.
COMBINATIONS = list(product(("memory", "http", "rabbitmq", "kafka"), ("sqlite", "postgresql"), ("folder", "s3")))


class TestEveryCombination(ProjectContract):
    """The contract over all sixteen."""

    @pytest.fixture(scope="class", params=COMBINATIONS, ids="-".join)
    @classmethod
    def combination(cls, request: pytest.FixtureRequest) -> tuple[str, str, str]:
        """Bus, store and artifacts."""
        bus, store, artifacts = request.param
        return bus, store, artifacts

    @pytest.fixture(scope="class")
    @classmethod
    def far(cls, combination: tuple[str, str, str]) -> bool:
        """Whether there is a far worker."""
        return combination[0] != "memory"

    @pytest.fixture(scope="class")
    @classmethod
    def settings(
        cls,
        combination: tuple[str, str, str],
        require_service: Callable[[str], str],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[Mapping[str, object]]:
        """Places of the combination's own, all empty."""
        bus, store, artifacts = combination
        folder: Path = tmp_path_factory.mktemp("artifacts")
        made: dict[str, object] = {"artifacts": f"file:{folder}"}
        with ExitStack() as stack:
            if store == "postgresql":
                made["store"] = stack.enter_context(schema_url(require_service("postgresql")))
            if bus in ("rabbitmq", "kafka"):
                made["bus"] = f"{require_service(bus)}?prefix=test-{uuid4().hex[:12]}"
            if bus == "kafka":
                made["bus"] = f"{made['bus']}&partitions=2"
            if artifacts == "s3":
                made["artifacts"] = below(require_service("s3"))
                keys = stack.enter_context(pytest.MonkeyPatch.context())
                for name, value in ObjectStore.environment().items():
                    keys.setenv(name, value)
            yield made
