"""A server's worker of light stages leaves to far workers what they see to, and nothing else."""

from datetime import timedelta
from pathlib import Path

from limner.app.standing_in import StandIn, served_by_others
from limner.bus.memory import MemoryBus
from limner.domain.workers import BY_BROKER, Beat, Hello
from limner.store.connect import connect_store


def test_nothing_is_taken_of_what_others_serve() -> None:
    """Of two topics one is served elsewhere: its message stays where it is, and the other is taken."""
    bus = MemoryBus()
    bus.publish("p.header/default", [b"theirs"])
    bus.publish("p.frame/default", [b"ours"])
    stand_in = StandIn(bus, served=lambda: {"p.header/default"})

    taken = stand_in.take(["p.header/default", "p.frame/default"], limit=9)
    nothing = stand_in.take(["p.header/default"], limit=9, wait=timedelta(milliseconds=10))

    assert [one.body for one in taken] == [b"ours"]
    assert nothing == []
    assert stand_in.count("p.header/default") == 1


def test_only_who_can_do_the_work_counts(tmp_path: Path) -> None:
    """One that is stale, not ready, of another version, or known to a broker alone sees to nothing."""
    store = connect_store(f"sqlite:///{tmp_path / 'limner.db'}")
    said = {"well": "v1", "stale": "v1", "unready": "v1", "other": "v2", "mailed": "v1"}
    with store.transaction() as tx:
        for name, version in said.items():
            hello = Hello(worker_id=name, hostname="node7", client=BY_BROKER if name == "mailed" else "")
            now = 100.0 if name == "stale" else 195.0
            tx.workers.hello(hello, serves={f"p.{name}/default": version}, now=now)
        tx.workers.beat(Beat(worker_id="unready"), ready={"p.unready/default": False}, now=196.0)

    with store.reading() as tx:
        found = served_by_others(tx, {"v1"}, now=200.0)

    assert found == {"p.well/default"}
