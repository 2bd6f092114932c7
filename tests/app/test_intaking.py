"""How a host takes jobs in: at once, from a manifest, from what is stored, and on again after it was stopped."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from limner.app.hosting import Host
from limner.app.intaking import AT_ONCE
from limner.app.lock import name_of
from limner.app.preparing import PAGE
from limner.app.submitting import Manifest, lines_of
from limner.domain.jobs import Job, JobState
from limner.domain.records import RecordIn, SetAside
from limner.errors import UsageError
from limner.testing.picture_server import PictureServer, Reply
from tests.app.hosts import Hands, ask, at_work, counts_of, ended, events_of, job_of, sealed, things, values_of
from tests.waiting import until

ALLOWED = 'allow_hosts = ["127.0.0.1"]\n'
#: A manifest of several pages.
MANY = 3 * PAGE + 10


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The project `default` at work; nobody serves it but the test. Its tasks are large."""
    with at_work(tmp_path, task_size=5000, settings=ALLOWED) as projects:
        yield projects.host("default")


def listed(*rows: RecordIn) -> bytes:
    """A manifest of these records."""
    return b"".join(lines_of(rows))


def manifest_of(host: Host, data: bytes) -> Manifest:
    """A manifest whose bytes were handed in before."""
    return Manifest(sha256=host.app.artifacts.put(data))


def refused(host: Host, job: Job) -> str:
    """Why a job was not taken in; it has failed."""
    assert ended(host, job) == "failed"
    (reason,) = [detail["reason"] for kind, detail in events_of(host, job) if kind == "refused"]
    assert counts_of(host, job).open == 0
    return str(reason)


def test_many_rows_are_taken_in_behind_the_door(host: Host) -> None:
    """More rows than are taken in at once: the job is stored when submit returns, and whole in the end."""
    count = AT_ONCE + PAGE
    wrong = [SetAside(row=at, reason="It is no record.") for at in (7, 8)]

    job = host.submit(ask([*things(count), *wrong]))
    assert job.set_aside == 2
    with Hands(host):
        assert ended(host, job) == "done"

    assert counts_of(host, job).done == count
    assert job_of(host, job).set_aside == 2
    assert values_of(host, job)[f"r{count - 1}"] == {"value": 2 * (count - 1)}


def test_a_manifest_is_read_by_its_digest(host: Host) -> None:
    """Its lines become records in the background; blank ones are passed over, wrong ones are set aside by row."""
    data = listed(*things(3)) + b"\n   \n{not json}\n" + listed(*things(2, first=3))

    job = host.submit(ask(manifest=manifest_of(host, data)))
    with Hands(host):
        assert ended(host, job) == "done"

    assert sorted(values_of(host, job)) == ["r0", "r1", "r2", "r3", "r4"]
    with host.store.reading() as tx:
        ((row, _, reason, excerpt),) = tx.jobs.rows_aside(job.id)
    assert (row, excerpt) == ("6", "{not json}\n")
    assert "no record" in reason


def test_a_manifest_is_fetched_from_its_address(host: Host) -> None:
    """A server that is busy for a moment is asked again; what it gave is kept by its digest."""
    data = listed(*things(5))
    with PictureServer({"list.jsonl": data}, plan={"list.jsonl": [Reply(status=503), Reply()]}) as server:
        job = host.submit(ask(manifest=Manifest(url=server.url("list.jsonl"))))
        with Hands(host):
            assert ended(host, job) == "done"
        assert server.requests["list.jsonl"] == 2

    assert counts_of(host, job).done == 5
    kept = msgspec.convert(job_of(host, job).detail["manifest"], Manifest)
    assert host.app.artifacts.path(kept.sha256 or "").read_bytes() == data


@pytest.mark.parametrize(
    ("reply", "said"), [(Reply(status=404), "404"), (Reply(redirect="http://169.254.169.254/list"), "169.254.169.254")]
)
def test_a_manifest_that_cannot_be_fetched_ends_its_job(host: Host, reply: Reply, said: str) -> None:
    """The job fails with the reason in its events; an address that is not allowed is not called, redirects included."""
    with PictureServer({"list.jsonl": b""}, plan={"list.jsonl": [reply]}) as server:
        job = host.submit(ask(manifest=Manifest(url=server.url("list.jsonl"))))

        assert said in refused(host, job)
        assert server.requests["list.jsonl"] == 1


def test_an_address_of_this_machine_needs_to_be_allowed(tmp_path: Path) -> None:
    """Without the setting a manifest on the loopback address is refused in words, and not asked for."""
    with at_work(tmp_path) as projects, PictureServer({"list.jsonl": listed(*things(1))}) as server:
        host = projects.host("default")
        job = host.submit(ask(manifest=Manifest(url=server.url("list.jsonl"))))

        assert "allow_hosts" in refused(host, job)
        assert server.requests.total() == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "holds no records"), (b"\n\n", "holds no records"), (listed(*things(1)), "has no attribute 'nobody'")],
)
def test_a_manifest_without_a_record_or_a_reader_ends_its_job(host: Host, data: bytes, said: str) -> None:
    """An empty list, and a reader that is not there, are told; the job does not hang."""
    reader = {"reader": "limner.app.submitting:nobody"} if data.strip() else {}

    job = host.submit(ask(manifest=msgspec.structs.replace(manifest_of(host, data), **reader)))

    assert said in refused(host, job)


def test_a_reader_that_breaks_ends_its_job(host: Host) -> None:
    """Whatever a system's reader raises is told, and the next job is taken in."""
    wrong = msgspec.structs.replace(manifest_of(host, listed(*things(1))), reader="tests.app.test_intaking:breaking")

    job = host.submit(ask(manifest=wrong))

    assert refused(host, job) == "Its records cannot be taken in: ZeroDivisionError: row 1"
    following = host.submit(ask(manifest=manifest_of(host, listed(*things(2)))))
    with Hands(host):
        assert ended(host, following) == "done"


def breaking(line: bytes, row: int) -> RecordIn | SetAside:
    """A reader with a mistake."""
    raise ZeroDivisionError(f"row {row}")


@pytest.mark.parametrize(
    ("manifest", "said"), [(Manifest(), "here is neither"), (Manifest(sha256="ab" * 32), "hand the manifest in first")]
)
def test_a_manifest_that_is_nowhere_is_refused_at_the_door(host: Host, manifest: Manifest, said: str) -> None:
    """Bytes that were never handed in are missed at once."""
    with pytest.raises(UsageError, match=said):
        host.submit(ask(manifest=manifest))


def test_stored_records_are_entered(host: Host) -> None:
    """By their ids, or all of them; what is current costs nothing; an unknown id ends the job with its name."""
    first = host.submit(ask(things(10)))
    with Hands(host):
        ended(host, first)
        some = host.submit(ask(ids=["r3", "r4"]))
        every = host.submit(ask())
        assert (ended(host, some), ended(host, every)) == ("done", "done")

    assert (counts_of(host, some).done, counts_of(host, every).done) == (2, 10)
    assert (job_of(host, some).inferred, job_of(host, every).inferred) == (0, 0)
    unknown = host.submit(ask(ids=["r1", "r99"]))
    assert "has no record r99" in refused(host, unknown)


def test_no_record_of_a_cancelled_job_is_taken_in_any_more(host: Host) -> None:
    """Cancelled in the middle of its manifest, a job gets not one record more, and nothing of it stays open."""
    job = host.submit(ask(manifest=manifest_of(host, listed(*things(MANY)))))
    until(lambda: job_of(host, job).taken >= PAGE)

    with host.lock:
        began = job_of(host, job).sealed
        host.cancel(job.id)
        counts = counts_of(host, job)
    after = host.submit(ask(manifest=manifest_of(host, listed(*things(3)))))
    sealed(host, after)

    assert counts.open == 0
    assert counts_of(host, job) == counts
    assert counts.records < MANY or began
    assert job_of(host, job).state is JobState.CANCELLED


def test_taking_in_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """A host that stops in the middle of a manifest goes on with its next start; no row counts twice."""
    lines = [b"{no record}\n" if at % 1000 == 5 else line for at, line in enumerate(lines_of(things(MANY)))]
    with at_work(tmp_path, task_size=5000) as projects:
        host = projects.host("default")
        with host.lock:
            job = host.submit(ask(manifest=manifest_of(host, b"".join(lines))))
        until(lambda: job_of(host, job).taken >= PAGE)
        host.intaking.stop()
    with at_work(tmp_path, task_size=5000) as projects:
        host = projects.host("default")
        found = sealed(host, job)
        bad = len([line for line in lines if line.startswith(b"{no")])
        assert (found.taken, found.set_aside) == (MANY, bad)
        assert counts_of(host, job).records == MANY - bad
        with Hands(host):
            assert ended(host, job) == "done"


def test_a_process_that_only_answers_hands_its_jobs_over(tmp_path: Path) -> None:
    """What it takes at its door is read by the process that runs the engine, manifests and stored records alike."""
    with at_work(tmp_path) as engine, at_work(tmp_path, leads=False) as door:
        leading, answering = engine.host("default"), door.host("default")
        listing = answering.submit(ask(manifest=manifest_of(answering, listed(*things(4)))))
        with Hands(leading):
            assert ended(leading, listing) == "done"
            stored = answering.submit(ask(ids=["r1"]))
            assert ended(leading, stored) == "done"

        assert (counts_of(leading, listing).done, counts_of(leading, stored).done) == (4, 1)
        assert job_of(leading, stored).inferred == 0


def test_a_job_whose_command_died_is_sealed_and_that_of_a_living_one_is_let_be(host: Host) -> None:
    """A command beside the server that was killed while it took records in leaves a job with what it had taken."""
    with host.lock, host.store.transaction() as tx:
        mine = {"process": name_of(os.getpid())}
        living = host.engine.desk.open(tx, "numbers", choices={}, detail=mine)
        dead = host.engine.desk.open(tx, "numbers", choices={}, detail={"process": "1 2 another-boot"})
        scope = host.engine.scope(tx, "numbers", {})
        for job in (living, dead):
            host.engine.intake.take(tx, host.engine.scopes(tx), scope, job.id, things(3))

    assert sealed(host, dead).sealed
    with Hands(host):
        assert ended(host, dead) == "done"
    assert not job_of(host, living).sealed
    assert "interrupted" in [kind for kind, _ in events_of(host, dead)]


def test_a_job_that_cannot_go_on_ends_and_does_not_keep_the_others(tmp_path: Path) -> None:
    """A stage that a job had chosen is gone when the server starts again: that job fails and says why."""
    with at_work(tmp_path) as projects:
        host = projects.host("default")
        with host.lock, host.store.transaction() as tx:
            gone = host.engine.desk.open(tx, "numbers", choices={"halve": ["theirs"]})
            left = host.engine.desk.open(tx, "numbers", choices={}, detail={"stored": {"ids": None, "full": False}})
            host.engine.intake.take(
                tx, host.engine.scopes(tx), host.engine.scope(tx, "numbers", {}), left.id, things(1)
            )
    with at_work(tmp_path) as projects, Hands(projects.host("default")):
        host = projects.host("default")
        assert "no stage halve" in refused(host, gone)
        assert ended(host, left) == "done"


def _kept(connection: Connection) -> bool:
    """Whether this connection is the store's one writer now."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError:
        return False
    return True


def test_a_store_that_is_busy_for_long_loses_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process keeps the store, taking in waits; then it goes on by itself, and counts nothing twice."""
    monkeypatch.setattr("limner.store.dialect._PATIENCE", 50)
    with at_work(tmp_path, task_size=5000) as projects:
        host = projects.host("default")
        job = host.submit(ask(manifest=manifest_of(host, listed(*things(MANY)))))
        until(lambda: job_of(host, job).taken >= PAGE)

        with capture_logs() as logs, host.store._engine.connect() as other:
            until(lambda: _kept(other))
            before = job_of(host, job).taken
            until(lambda: [line for line in logs if line["event"] in ("engine_waits", "chore_waits")])
            assert job_of(host, job).taken == before
            other.exec_driver_sql("ROLLBACK")

        found = sealed(host, job)
        assert (found.taken, counts_of(host, job).records) == (MANY, MANY)
