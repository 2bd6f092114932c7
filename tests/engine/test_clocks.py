"""A clock that is set, forth or back: what was leased, or waits for another try, does not wait as long as that."""

from datetime import timedelta

import limner
from limner.domain.failures import Failure, FailureCode
from limner.domain.pipelines import Pipeline
from tests.engine.lab import Lab, done, failed, record, toy

HOUR = timedelta(hours=1)
GONE = Failure(code=FailureCode.SOURCE_UNAVAILABLE, message="The server is gone.")


def pipeline() -> Pipeline:
    """One stage."""
    stage = limner.Stage("s", toy("Linear"), reads={"x": "x"}, batch=8, task_size=8)
    return limner.Pipeline("p", collection="things", stages=[stage])


def started() -> Lab:
    """A lab with a job over two records, whose upkeep was done a moment ago."""
    lab = Lab(pipeline())
    lab.open([record(str(n), x=n) for n in range(2)])
    return lab


def test_a_lease_runs_out_where_the_clock_was_set_back() -> None:
    """A worker that was lost just before the clock went back an hour is missed after a lease, not an hour later."""
    # given a task that a worker took, and which was leased before the clock went back
    lab = started()
    lab.step()
    (task,) = lab.take()
    lab.clock.move(-HOUR)
    lab.step()

    # when a lease has passed
    lab.lapse()
    lab.step()

    # then it is sent again
    (again,) = lab.take()
    assert (again.records, again.id != task.id) == (task.records, True)


def test_a_lease_of_a_clock_that_was_ahead_is_no_longer_than_any() -> None:
    """Whoever leads next goes by a clock of his own: what one an hour ahead had leased runs out all the same."""
    lab = started()
    lab.clock.move(HOUR)
    lab.step()
    lab.take()
    with lab.store.transaction() as tx:
        (sent,) = tx.tasks.open_of()
    lab.clock.move(-HOUR)
    lab.step()

    with lab.store.transaction() as tx:
        (kept,) = tx.tasks.open_of()

    assert sent.lease_until is not None
    assert kept.lease_until is not None
    assert sent.lease_until - kept.lease_until == HOUR.total_seconds()


def test_another_try_is_made_where_the_clock_was_set_back() -> None:
    """A record that was to be tried again in half a second is not left for an hour."""
    # given a record that failed, and a clock that goes back then
    lab = started()
    lab.step()
    (task,) = lab.take()
    lab.send(failed(task, GONE))
    lab.step()
    lab.clock.move(-HOUR)
    lab.step()

    # when the longest wait of the policy has passed
    lab.lapse()
    lab.step()

    # then it is tried again
    (again,) = lab.take()
    assert sorted(again.records) == ["0", "1"]


def test_a_clock_that_goes_ahead_doubles_nothing() -> None:
    """Every lease runs out at once where the clock goes an hour ahead; what was at work by then counts, once."""
    lab = started()
    lab.step()
    (task,) = lab.take()
    lab.clock.move(HOUR)
    lab.step()
    (again,) = lab.take()

    lab.send(done(task, 7))
    lab.send(done(again, 8))
    lab.drain()

    assert lab.values("s") == {"0": 7, "1": 7}
