"""Callbacks that were missed: when they are sent again, when they are given up, and redelivery on demand."""

from datetime import timedelta

import pytest

from limner.app.outbox import DELAYS, Outbox
from limner.domain.failures import FailureCode
from limner.domain.jobs import Job, JobState
from limner.errors import IllegalMove, NotFound, UsageError
from limner.testing.listener import CallbackListener
from tests.app.calling import PATIENCE, SECOND, Desk, keys_told


def test_missed_callback_is_sent_again_and_again(desk: Desk, listener: CallbackListener) -> None:
    """A receiver that is down and then answers 500 twice gets its callback, by the waits that are documented."""
    desk.job(to=listener)
    listener.down()

    desk.work()
    down = desk.standing()
    desk.pass_time(timedelta(seconds=4))
    early = desk.standing()
    listener.up()
    listener.answer(500, 500)
    desk.pass_time(SECOND)
    desk.pass_time(timedelta(seconds=30))
    twice = desk.standing()
    desk.pass_time(timedelta(minutes=2))

    assert (down.state, down.tries, down.last_status) == ("pending", 1, None)
    assert down.last_error == "The receiver cannot be connected to."
    assert early.tries == 1
    assert (twice.state, twice.tries, twice.last_status) == ("pending", 3, 500)
    assert [one.status for one in listener.received] == [500, 500, 200]
    assert len({(one.webhook_id, one.body) for one in listener.received}) == 1
    assert desk.standing().state == "delivered"


def test_callback_that_nobody_accepts_is_given_up(desk: Desk, listener: CallbackListener) -> None:
    """After the last wait it counts as undelivered, with its code in the job's events; the job keeps its state."""
    desk.job(to=listener)
    listener.answer(*[503] * 20)

    desk.work()
    waits = []
    while (at := desk.standing().next_try_at) is not None:
        waits.append(round(at - desk.clock.now()))
        desk.pass_time(timedelta(seconds=at - desk.clock.now()))

    stands = desk.standing()
    assert waits == [wait.total_seconds() for wait in DELAYS]
    assert (stands.state, stands.tries, stands.last_status) == ("undelivered", 7, 503)
    with desk.app.store.reading() as tx:
        (event,) = [e for e in tx.jobs.events("j") if e.kind == "callback_undelivered"]
        assert tx.jobs.get("j").state is JobState.DONE
    assert event.detail["code"] == FailureCode.CALLBACK_UNDELIVERED
    assert (event.detail["tries"], event.detail["status"]) == (7, 503)


def test_waits_are_drawn_out_by_chance(desk: Desk, listener: CallbackListener) -> None:
    """What failed together is not tried again together, and never sooner than was said."""
    outbox = Outbox(desk.host, key=desk.key, formats=desk.formats, jitter=lambda: 1.0)
    desk.job(to=listener)
    listener.answer(500)

    outbox.collect("j")
    outbox.deliver("j")

    assert desk.standing().next_try_at == pytest.approx(desk.clock.now() + 5.5)
    outbox.stop(PATIENCE)


def test_gone_receiver_is_left_alone(desk: Desk, listener: CallbackListener) -> None:
    """410 ends all pages of the job at once, and a later round is not sent either, until somebody asks for it."""
    desk.close()
    desk.open(callback_max_bytes=1000)
    desk.job(to=listener, records=400)
    listener.answer(410)
    desk.work()
    first = len(listener.received)
    with desk.app.store.transaction() as tx:
        tx.jobs.move("j", JobState.RUNNING, at=desk.clock.now())
    desk.end("j")
    desk.pass_time(timedelta(days=1))

    assert first == len(listener.received) == 1
    assert (desk.standing().state, desk.standing().last_status) == ("undelivered", 410)
    assert desk.events().count("callback_undelivered") == 1
    desk.outbox.redeliver("j")
    desk.work()
    assert keys_told(listener) == list(range(1, 401))


def test_receiver_that_never_answers_is_given_its_time(desk: Desk, listener: CallbackListener) -> None:
    """A call ends with its time limit, and is tried again like any other."""
    desk.close()
    desk.open(callback_timeout=0.2)
    desk.job(to=listener)
    listener.hang()

    desk.work()
    stands = desk.standing()
    listener.release()

    assert (stands.state, stands.last_error) == ("pending", "No answer within 0.2 seconds.")


def test_redelivery_sends_the_same_pages_again(desk: Desk, listener: CallbackListener) -> None:
    """Every page goes out again at once, with the id and the bytes that it had."""
    desk.close()
    desk.open(callback_max_bytes=1000)
    desk.job(to=listener, records=400)
    desk.work()
    before = [(one.webhook_id, one.body) for one in listener.received]

    count = desk.outbox.redeliver("j")
    assert desk.standing().state == "pending"
    desk.work()

    again = [(one.webhook_id, one.body) for one in listener.received[len(before) :]]
    assert count == len(before) > 1
    assert again == before
    assert "callback_redelivered" in desk.events()


def test_redelivery_says_why_it_cannot_be(desk: Desk, listener: CallbackListener) -> None:
    """No such job, a job without a callback, and one that is still at work are told apart."""
    desk.job(to=listener, ended=False)
    with desk.app.store.transaction() as tx:
        tx.jobs.add(Job(id="silent", pipeline="p", state=JobState.WAITING, created=1.0))

    with pytest.raises(NotFound, match="no job nobody"):
        desk.outbox.redeliver("nobody")
    with pytest.raises(UsageError, match="asked for no callback"):
        desk.outbox.redeliver("silent")
    with pytest.raises(IllegalMove, match="j is running"):
        desk.outbox.redeliver("j")
