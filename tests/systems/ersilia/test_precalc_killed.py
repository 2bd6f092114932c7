"""What is killed while a precalculation goes on, and that all of it ends as if nothing had been."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from limner.app.app import App
from limner.systems.ersilia.made_molecules import made_molecules
from tests.far.workers import WorkerProcess
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.served import LONG, Typed, check_published, predicted_by, serving, settle, store_url
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
#: Rows of two pages of an index: there is a half-way in taking them in.
LARGE = 14_000
MOLECULES = made_molecules(121)
#: Each call takes a while and is for ten molecules at most, so that there is a half-way.
SLOW, TEN_A_CALL = "import time\ntime.sleep(0.2)", (0.1, 0.1, -1, -1, -1)
#: Shards of the molecules above, and records in the largest.
SHARDS = 12
SHARD = -(-len(MOLECULES) // SHARDS)
WORKERS = ("one", "two")


def taken_in(app: App) -> bool:
    """Whether some of the library was taken in, and not all of it."""
    with app.store.reading() as tx:
        return any(0 < job.taken < LARGE for job in tx.jobs.listing(limit=1))


def identified(app: App) -> bool:
    """Whether some of the library was identified, and not all of it."""
    return 0 < len(results(app)) < LARGE


def results(app: App) -> set[tuple[int, ...]]:
    """Every result that is stored, with the task that found it out."""
    with app.store.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT pk, record, node, version, task FROM results").all()
    return {tuple(row) for row in rows}


@pytest.mark.parametrize("half_way", [taken_in, identified])
def test_e9_killed_before_the_model(half_way: Callable[[App], bool], bench: Bench) -> None:
    """While a library is taken in or identified: the same command goes on there, and finds nothing out twice."""
    bench.noting()
    molecules = made_molecules(LARGE)
    library = bench.library(molecules)
    with bench.app() as app:
        app.store  # noqa: B018  it is made before two processes open it
        with Typed(bench, library, "--workers", "2", "--no-canary") as typed:
            until(lambda: half_way(app) or typed.process.poll() is not None, within=LONG)
            assert typed.process.poll() is None
            typed.kill()
        assert half_way(app)
        before = results(app)
        assert bench.calls() == []

        with Typed(bench, library, "--workers", "2", "--no-canary") as again:
            outcome = again.outcome()

        after = results(app)
    check_published(bench, outcome, molecules)
    # What an earlier process found out stands as it was, and the model saw each molecule once.
    assert before <= after
    assert bench.predicted() == LARGE


@pytest.fixture
def shared(require_service: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Settings of servers that stand by for each other: one database, and one broker."""
    with store_url(require_service("postgresql")) as store:
        yield {"store": store, "bus": f"{require_service('rabbitmq')}?prefix=test-{uuid4().hex[:12]}"}


def workers_of(url: str, folder: Path, stack: ExitStack) -> list[WorkerProcess]:
    """Two far workers that predict, one call at a time."""
    options = ("--stage", "predict", "--parallel", "1")
    return [stack.enter_context(WorkerProcess(folder / one, url, "--name", one, *options)) for one in WORKERS]


def test_e9_the_server_that_leads_is_killed(bench: Bench, shared: dict[str, str], tmp_path: Path) -> None:
    """On a database and a broker: the command sees to the engine until its end, and far workers lose nothing."""
    settle(bench, shared)
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(MOLECULES)
    with serving(bench) as server, ExitStack() as stack:
        workers_of(shared["bus"], tmp_path, stack)
        typed = stack.enter_context(Typed(bench, library, "--workers", str(SHARDS), "--no-canary"))
        until(lambda: len(bench.calls()) >= SHARDS // 2 or typed.process.poll() is not None, within=LONG)
        server.kill()
        server.start()
        outcome = typed.outcome()
        until(server.ready, within=LONG)

    check_published(bench, outcome, MOLECULES)
    # What far workers have in hand stays theirs; an answer that the server had just read may be asked for again.
    assert len(MOLECULES) <= bench.predicted() <= len(MOLECULES) + len(WORKERS) * SHARD
    assert predicted_by(bench, MOLECULES).keys() & set(WORKERS)


def test_e9_the_machine_of_the_server_is_killed(bench: Bench, tmp_path: Path) -> None:
    """Server and command end as by a power cut; started again, they go on with the same job and the same workers."""
    settle(bench, {})
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(MOLECULES)
    asked = ("--workers", str(SHARDS), "--no-canary")
    with serving(bench) as server, ExitStack() as stack:
        workers_of(server.url, tmp_path, stack)
        with Typed(bench, library, *asked) as typed:
            until(lambda: len(bench.calls()) >= SHARDS // 2 or typed.process.poll() is not None, within=LONG)
            typed.kill()
        server.kill()
        with bench.app() as app:
            (left,) = [job.id for job in app.jobs() if job.state == "running"]
        server.start()
        until(server.ready, within=LONG)
        outcome = stack.enter_context(Typed(bench, library, *asked)).outcome()

    assert outcome["job"] == left
    check_published(bench, outcome, MOLECULES)
    assert predicted_by(bench, MOLECULES).keys() <= set(WORKERS)
    assert len(MOLECULES) <= bench.predicted() <= len(MOLECULES) + len(WORKERS) * SHARD


def one_of_two_killed(url: str, bench: Bench, folder: Path) -> dict[str, object]:
    """How a precalculation ends of whose two workers one is killed once both have called the model."""
    library = bench.library(MOLECULES)
    with ExitStack() as stack:
        killed, _ = workers_of(url, folder, stack)
        typed = stack.enter_context(Typed(bench, library, "--workers", str(SHARDS), "--no-canary"))
        until(lambda: len({process for process, _ in bench.calls()}) == 2, within=LONG)
        killed.kill()
        return typed.outcome()


@pytest.mark.parametrize("broker", ["rabbitmq", "kafka"])
def test_e9_a_worker_behind_a_broker_is_killed(
    broker: str, bench: Bench, require_service: Callable[[str], str], tmp_path: Path
) -> None:
    """The broker hands what it had in hand to the other one, or its lease runs out; nothing else is done again."""
    bus = f"{require_service(broker)}?prefix=test-{uuid4().hex[:12]}"
    bus += "&partitions=4" if broker == "kafka" else ""
    bench.noting(SLOW, seconds=TEN_A_CALL)
    with store_url(require_service("postgresql")) as store:
        settle(bench, {"store": store, "bus": bus, "lease": 10.0})
        with serving(bench):
            outcome = one_of_two_killed(bus, bench, tmp_path)

        check_published(bench, outcome, MOLECULES)
    assert len(MOLECULES) <= bench.predicted() <= len(MOLECULES) + SHARD


def test_e9_a_far_worker_is_killed(bench: Bench, tmp_path: Path) -> None:
    """What it had in hand is done by the other one once its lease has run out; nothing else is done again."""
    settle(bench, {"lease": 10.0})
    bench.noting(SLOW, seconds=TEN_A_CALL)
    with serving(bench) as server:
        outcome = one_of_two_killed(server.url, bench, tmp_path)

    check_published(bench, outcome, MOLECULES)
    assert len(MOLECULES) <= bench.predicted() <= len(MOLECULES) + SHARD
