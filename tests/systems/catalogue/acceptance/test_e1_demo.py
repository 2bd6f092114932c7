"""E1: the demonstration runs end to end in a minute, without a network, and unchanged on a cluster's parts."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.store.databases import schema_url
from tests.systems.demos import check_demo
from tools.services import ObjectStore

TOLD = (
    "434 done, 1 failed",
    "SOURCE_TRUNCATED",
    "to infer: palette 0, features 0, aspect_ratio 0, codes 434, work_summary 0; pictures to fetch: 0",
    "434 values inferred",
    "missing 0, extra 0, stale 0, mixed 0, failed 1, skipped 0",
    "codes/pq by codes@1",
)


@pytest.mark.slow
@pytest.mark.timed
def test_e1_demo(tmp_path: Path) -> None:
    """It draws, infers, trains, plans, searches, audits and explains, and says where everything lies."""
    check_demo("catalogue", tmp_path, told=TOLD)


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("bus", "artifacts"), [("rabbitmq", ""), ("kafka", "s3")])
def test_the_demo_runs_on_a_clusters_parts(
    require_service: Callable[[str], str], tmp_path: Path, bus: str, artifacts: str
) -> None:
    """By settings alone: store and search on PostgreSQL, tasks over a broker, files in an object store."""
    prefix = f"?prefix=test-{uuid4().hex[:12]}"
    with schema_url(require_service("postgresql")) as store:
        environment = {"LIMNER_STORE": store, "LIMNER_BUS": require_service(bus) + prefix}
        if artifacts:
            environment |= {"LIMNER_ARTIFACTS": require_service(artifacts), **ObjectStore.environment()}
            environment |= {"LIMNER_INDEX": store}

        made = check_demo("catalogue", tmp_path, told=TOLD, environment=environment)

    assert not (made / ".limner" / "limner.db").exists()
