"""Several servers and workers on PostgreSQL and a broker: whatever is killed, results are those of a calm run."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.storms import impossible, storm, undisturbed
from tests.conftest import IN_CI

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]
SEED = int(os.environ.get("CHAOS_SEED", "1"))
RECORDS = 400


@pytest.mark.parametrize(
    ("bus", "artifacts", "blows"),
    [
        ("rabbitmq", "folder", ["kill_worker", "kill_servers", "purge_queues", "kill_store", "fill_artifacts"]),
        ("kafka", "s3", ["kill_leader", "repeat_messages", "kill_bus", "stop_artifacts"]),
        ("rabbitmq", "s3", ["kill_standby", "deliver_late", "cut_link", "set_clocks"]),
    ],
)
def test_a_few_blows(
    require_service: Callable[[str], str], tmp_path: Path, bus: str, artifacts: str, blows: list[str]
) -> None:
    """A few of them on each broker: nothing is lost or doubled, every count on the way is exact."""
    for service in ("postgresql", bus, *(["s3"] if artifacts == "s3" else [])):
        require_service(service)
    for blow, why in impossible(tmp_path / "tries").items():
        if blow in blows:
            # As with a missing service: nothing goes untested unseen.
            (pytest.fail if IN_CI else pytest.skip)(why)
    calm = undisturbed(tmp_path / "calm", RECORDS)

    outcome = storm(
        tmp_path / "storm",
        bus=bus,
        artifacts=artifacts,
        records=RECORDS,
        seed=SEED,
        calm=calm,
        pause=3.0,
        blows=blows,
        pace=0.3,
    )

    assert len(outcome.waits) == len(blows)
    assert outcome.reads > 20
