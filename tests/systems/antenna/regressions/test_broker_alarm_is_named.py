"""A broker's disk alarm blocked all of the original, unseen; whoever asks is told of it here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner.app.doctor import Finding, State, examine
from limner.app.doctor_far import examine_ways
from tests.far.rig import Server
from tests.waiting import until
from tools.services import Broker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def broker(require_service: Callable[[str], str], tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, to be filled."""
    require_service("rabbitmq")
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder)
    made.start()
    yield made
    made.close()


def wrong(findings: list[Finding], part: str) -> list[Finding]:
    """What is wrong with a part."""
    return [finding for finding in findings if finding.state is State.WRONG and finding.part == part]


@pytest.mark.parametrize(
    ("raised", "lifted", "named"),
    [
        (("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "1MB"), "disk"),
        (
            ("set_vm_memory_high_watermark", "absolute", "1"),
            ("set_vm_memory_high_watermark", "0.9"),
            "memory",
        ),
    ],
    ids=["disk", "memory"],
)
def test_broker_alarm_is_named(
    broker: Broker, tmp_path: Path, raised: tuple[str, ...], lifted: tuple[str, ...], named: str
) -> None:
    """Status, readiness, metrics and doctor on both sides say it; once it is over, the job ends by itself."""
    settings = f"lease = 5.0\nbus = '{broker.url}'\n"
    with Server(tmp_path / "project", settings=settings, own_workers=True) as server:
        broker.control(*raised)
        job = server.submit([{"number": at} for at in range(20)])

        def reason() -> str:
            return str(server.get(f"jobs/{job.id}").json()["waiting_reason"])

        until(lambda: "alarm" in reason())
        assert named in reason()
        assert server.counts(job).open == 20
        assert server._client.get(f"{server.url}/readyz").json() == {"status": "ready", "bus": "trouble"}
        assert 'limner_bus_trouble{project="default"} 1.0' in server._client.get(f"{server.url}/metrics").text
        (here,) = wrong(examine(server.folder, options={"store": "sqlite:///looked.db"}), "bus")
        (far,) = wrong(examine_ways(broker.url, token=""), "broker")
        assert "alarm" in here.said
        assert named in here.said
        assert "alarm" in far.said
        assert named in far.said

        broker.control(*lifted)
        assert server.wait(job) == "done"
        until(lambda: server._client.get(f"{server.url}/readyz").json()["bus"] == "well")
        assert server.get(f"jobs/{job.id}").json()["waiting_reason"] is None
