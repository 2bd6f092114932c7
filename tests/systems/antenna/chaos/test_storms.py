"""Whatever is killed, frozen, lost or said twice: results are those of an undisturbed run, and every count is exact."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.systems.antenna.chaos.project import POISON, Place, body_of, shared_out
from tests.systems.antenna.chaos.proxy import Proxy
from tests.systems.antenna.chaos.storm import LONG, SEED, Act, Client, Storm, schedule, undisturbed
from tests.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
#: A few of everything, and a great deal.
FEW = ["kill_server"] * 2 + ["kill_worker", "freeze_worker", "stop_worker"]
MANY = ["kill_server"] * 20 + ["kill_worker"] * 8 + ["freeze_worker"] * 4 + ["stop_worker"] * 4
#: What a test notes of itself, by name.
Note = Callable[[str, object], None]
Results = Mapping[Place, tuple[int, bytes]]


def weather(storm: Storm, numbers: Sequence[int], acts: Sequence[Act], calm: Results, *, jobs: int, note: Note) -> None:
    """Send the frames as several jobs, do what is scheduled, and compare what is left with an undisturbed run."""
    with Proxy(storm.server.port, seed=SEED, lost=0.1, twice=0.1, late=0.1) as proxy:
        storm.url = proxy.url
        with storm:
            shares = shared_out(numbers, jobs=jobs)
            client = Client(storm.server.url, {key: body_of(share) for key, share in shares.items()})
            client.start()
            storm.rage(acts)
            storm.calm()
            client.join()
            storm.ended(storm.looks.jobs())

            # No yes was forgotten, and no key made two jobs.
            named = [identity for found in client.jobs.values() for identity in found]
            assert sorted(named) == sorted(storm.looks.jobs())
            assert len(named) == jobs
            for key, (identity,) in client.jobs.items():
                bad = list(shares[key]).count(POISON)
                counts = storm.looks.job(identity).counts
                assert (counts["done"], counts["failed"]) == (len(shares[key]) - bad, bad)
            assert storm.looks.results() == calm
            before = {identity: storm.looks.job(identity) for identity in named}
            proxy.say_again()
            assert {identity: storm.looks.job(identity) for identity in named} == before
            assert storm.looks.results() == calm
            storm.sound()
    note("seconds to the first new result", storm.waits)
    note("receipts", dict(proxy.told))
    assert proxy.did["lost"]
    assert proxy.told["duplicate"]


def test_the_schedule_is_that_of_its_seed() -> None:
    """The same seed does the same things, in the same order and at the same moments; another seed others."""
    one, same, other = (schedule(seed, acts=MANY, workers=3, results=5000) for seed in (7, 7, 8))

    assert one == same != other
    assert sorted(act.what for act in one) == sorted(MANY)


@pytest.mark.timeout(400)
def test_a50_a_few_of_everything(tmp_path: Path, note: Note) -> None:
    """
    Server and workers are killed, frozen and told to stop; replies are lost, answers come twice and late.

    One record kills the process of whoever infers it: it fails, and no other does.
    """
    numbers = [*range(160), POISON]
    calm = undisturbed(tmp_path / "calm", numbers)
    acts = schedule(SEED, acts=FEW, workers=2, results=len(calm))

    weather(Storm(tmp_path / "storm", pace=0.004), numbers, acts, calm, jobs=5, note=note)


@pytest.mark.chaos_full
@pytest.mark.timeout(1500)
def test_a10_a_server_killed_twenty_times(tmp_path: Path, note: Note) -> None:
    """Twenty kills of the server, eight of workers, and all the rest: nothing that was answered with yes is lost."""
    numbers = range(1500)
    calm = undisturbed(tmp_path / "calm", numbers)
    acts = schedule(SEED, acts=MANY, workers=3, results=len(calm))

    weather(Storm(tmp_path / "storm", workers=3, pace=0.01), numbers, acts, calm, jobs=30, note=note)


@pytest.mark.chaos_full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", ["kill_worker", "freeze_worker", "stop_worker"])
def test_a9_a20_a23_workers_come_and_go(tmp_path: Path, act: str, note: Note) -> None:
    """Six workers in a row are killed, or frozen for longer than their lease, or told to stop: every time exact."""
    numbers = range(300)
    calm = undisturbed(tmp_path / "calm", numbers)
    acts = schedule(SEED, acts=[act] * 6, workers=2, results=len(calm))

    weather(Storm(tmp_path / "storm", pace=0.01), numbers, acts, calm, jobs=4, note=note)


@pytest.mark.timeout(300)
def test_a11_a_commit_whose_reply_is_lost_is_a_duplicate_when_it_is_said_again(tmp_path: Path) -> None:
    """Of two replies one never arrives: the worker says it all again, is told so, and nothing counts twice."""
    numbers = range(40)
    storm = Storm(tmp_path / "storm", workers=1)
    with Proxy(storm.server.port, seed=SEED, lost=0.5) as proxy:
        storm.url = proxy.url
        with storm:
            client = Client(storm.server.url, {"one": body_of(numbers)})
            client.run()
            (job,) = client.jobs["one"]
            storm.ended([job])

            found = storm.looks.results()
            assert len([place for place in found if place.stage == "name"]) == sum(n % 4 for n in numbers)
            assert len([place for place in found if place.stage == "size"]) == len(numbers)
            assert storm.looks.job(job).counts["done"] == len(numbers)
            storm.sound()
    assert proxy.told["committed"]
    assert proxy.told["duplicate"] + proxy.told["late_accepted"] > 0


@pytest.mark.chaos_full
@pytest.mark.timeout(300)
def test_a12_a_record_that_kills_its_process_fails_alone(tmp_path: Path) -> None:
    """It alone fails, after as many attempts as its stage allows; its neighbours are charged with none."""
    numbers = [*range(20), POISON, *range(20, 40)]
    with Storm(tmp_path / "storm", workers=1) as storm:
        client = Client(storm.server.url, {"one": body_of(numbers)})
        client.run()
        (job,) = client.jobs["one"]
        storm.ended([job])

        state = storm.looks.job(job)
        assert (state.state, state.counts["done"], state.counts["failed"]) == ("done_with_failures", 40, 1)
        assert {record: code for record, (code, _) in storm.looks.failures().items()} == {"f-1": "ATTEMPTS_EXHAUSTED"}
        assert len([place for place in storm.looks.results() if place.stage == "size"]) == 41
        storm.sound()


@pytest.mark.chaos_full
@pytest.mark.timeout(300)
def test_a21_a22_what_hangs_is_ended_and_what_takes_long_is_not(tmp_path: Path) -> None:
    """A record that hangs is tried again after its limit; one of three leases is done in one attempt."""
    numbers = [*range(10), -2, -3, *range(10, 20)]
    with Storm(tmp_path / "storm", lease=2.0, timeout=8.0) as storm:
        (storm.folder / "long").write_text("6.5")
        client = Client(storm.server.url, {"one": body_of(numbers)})
        client.run()
        (job,) = client.jobs["one"]
        storm.ended([job])

        assert storm.looks.job(job).counts["done"] == len(numbers)
        assert {record: code for record, (code, _) in storm.looks.failures().items()} in ({}, {"f-2": "STAGE_TIMEOUT"})
        calls = [line for worker in storm.workers for line in (worker.folder / "calls.txt").read_text().splitlines()]
        assert calls.count("find -2") >= 2
        assert "f-3" not in storm.looks.failures()
        storm.sound()


@pytest.mark.timed
@pytest.mark.chaos_full
@pytest.mark.timeout(300)
def test_a25_a_job_cancelled_at_thirty_percent_stays_so(tmp_path: Path) -> None:
    """While workers and server are killed: what was done is kept, nothing revives, another job's records go on."""
    numbers = range(200)
    with Storm(tmp_path / "storm", pace=0.01) as storm:
        client = Client(storm.server.url, {"mine": body_of(numbers), "other": body_of(range(150, 220))})
        client.run()
        (mine,), (other,) = client.jobs["mine"], client.jobs["other"]
        until(lambda: storm.looks.job(mine).counts["done"] >= 60, within=LONG)

        began = time.monotonic()
        answer = httpx.post(f"{storm.server.url}/api/v1/jobs/{mine}/cancel", timeout=20)
        assert answer.is_success, answer.text
        until(lambda: storm.looks.job(mine).state == "cancelled", within=timedelta(seconds=2))
        assert time.monotonic() - began < 2
        counts = storm.looks.job(mine).counts
        storm.kill_server(0)
        storm.kill_worker(0)
        storm.calm()
        storm.ended([other])

        assert storm.looks.job(mine) == storm.looks.job(mine)._replace(state="cancelled", counts=counts)
        assert counts["open"] == 0
        assert counts["done"] + counts["cancelled"] == 200
        assert storm.looks.job(other).counts["done"] == 70
        storm.sound()
