"""Workers in the store: each is seen by itself, and what it serves is counted only while it is live."""

from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.tasks import ModelRef
from limner.domain.versions import Version
from limner.domain.workers import Beat, Hello, Liveness, ServedVersion, digest_of, liveness, mismatch
from limner.store.connect import connect_store
from limner.store.store import Store
from limner.store.workers import Offered


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return connect_store(f"sqlite:///{tmp_path / 'limner.db'}")


def _hello(store: Store, name: str, *, now: float, serves: dict[str, str] | None = None) -> None:
    with store.transaction() as tx:
        tx.workers.hello(Hello(worker_id=name, hostname="node7"), serves=serves or {"p.s/a": "v1"}, now=now)


def test_a_heartbeat_marks_its_sender_only(store: Store) -> None:
    """One worker that beats makes no peer look live."""
    for name in ("a", "b", "c"):
        _hello(store, name, now=100.0)

    with store.transaction() as tx:
        assert tx.workers.beat(Beat(worker_id="b", busy=[7], rss_bytes=5), ready={}, now=190.0)

    with store.reading() as tx:
        seen = {w.hello.worker_id: w.liveness(now=200.0) for w in tx.workers.listing()}
        busy = {w.hello.worker_id: w.beat.busy for w in tx.workers.listing()}
    assert seen == {"a": Liveness.STALE, "b": Liveness.LIVE, "c": Liveness.STALE}
    assert busy == {"a": [], "b": [7], "c": []}


def test_only_live_workers_serve(store: Store) -> None:
    """An address is served by those who were seen within two heartbeats, and is ready where they say so."""
    _hello(store, "a", now=100.0)
    _hello(store, "b", now=195.0)
    _hello(store, "c", now=196.0)
    with store.transaction() as tx:
        tx.workers.beat(Beat(worker_id="c"), ready={"p.s/a": False, "other": True}, now=197.0)

    with store.reading() as tx:
        found = tx.workers.serving(now=200.0)

    assert (found["p.s/a"].live, found["p.s/a"].ready, found["p.s/a"].last_seen) == (2, 1, 197.0)


def test_a_new_hello_replaces_what_was_served(store: Store) -> None:
    """What a worker no longer names it no longer serves; when it was first seen stays."""
    _hello(store, "a", now=100.0, serves={"p.s/a": "v1", "p.t/a": "v1"})
    with store.transaction() as tx:
        tx.workers.drain("a")

    _hello(store, "a", now=300.0, serves={"p.s/a": "v2"})

    with store.reading() as tx:
        stored = tx.workers.get("a")
        served = [(s.address, s.version) for s in tx.workers.served_by(["a"])]
    assert stored is not None
    assert (stored.first_seen, stored.last_seen, stored.drain) == (100.0, 300.0, False)
    assert served == [("p.s/a", "v2")]


def test_who_never_said_hello_is_unknown(store: Store) -> None:
    """A heartbeat of a stranger is not kept, so that it says hello again."""
    with store.transaction() as tx:
        assert not tx.workers.beat(Beat(worker_id="ghost"), ready={}, now=1.0)
        assert not tx.workers.seen("ghost", now=1.0)
        assert not tx.workers.drain("ghost")
        assert tx.workers.listing() == []


def test_the_forgotten_serve_nothing(store: Store) -> None:
    """What was not heard of for long is removed with all that it served."""
    _hello(store, "old", now=100.0)
    _hello(store, "new", now=900.0)

    with store.transaction() as tx:
        assert tx.workers.forget(seen_before=500.0) == 1

    with store.reading() as tx:
        assert [s.worker for s in tx.workers.served_by()] == ["new"]


def test_an_offer_is_kept_once(store: Store) -> None:
    """An implementation of an outside worker is remembered with who permitted it, once."""
    with store.transaction() as tx:
        tx.workers.offer("p", "s", "theirs", by="t1", now=1.0)
        tx.workers.offer("p", "s", "theirs", by="t2", now=2.0)
        assert tx.workers.offers() == [Offered("p", "s", "theirs")]


@pytest.mark.parametrize(("silent", "seen"), [(30, "live"), (31, "stale"), (600, "stale"), (601, "gone")])
def test_silence_has_three_names(silent: int, seen: str) -> None:
    """Two heartbeats are live, up to ten minutes stale, beyond that gone."""
    assert liveness(timedelta(seconds=silent)) == seen


def test_a_version_is_compared_part_by_part() -> None:
    """Whatever a worker says of its version must be so; what it leaves out is the server's own."""
    model = ModelRef(name="m", number=1, sha256="ab", filename="m.onnx")
    version = Version(digest="d1", code="1", model=model, params={"k": 2}, environment={"numpy": "2"})

    assert mismatch(version, ServedVersion(code="1")) is None
    assert mismatch(version, ServedVersion(digest="d1")) is None
    assert mismatch(version, ServedVersion(code="1", environment={"numpy": "2"})) is None
    assert mismatch(version, ServedVersion(code="1", params_digest=digest_of({"k": 2}))) is None
    for wrong, named in (
        (ServedVersion(), "code version"),
        (ServedVersion(digest="d2"), "d2"),
        (ServedVersion(code="2"), "code version is 2"),
        (ServedVersion(code="1", model_digest="cd"), "model is cd"),
        (ServedVersion(code="1", params_digest=digest_of({})), "parameters"),
        (ServedVersion(code="1", environment={"numpy": "3"}), "environment"),
    ):
        assert named in (mismatch(version, wrong) or "")
