"""Callbacks that are delivered at the ends of jobs: real receivers, real signatures, a clock that is moved."""

from datetime import timedelta

import pytest

from limner.domain.jobs import JobState
from limner.testing.listener import CallbackListener
from tests.app.calling import TOKEN, Desk


def test_end_of_a_job_is_delivered_with_token_and_signature(desk: Desk, listener: CallbackListener) -> None:
    """The receiver finds the token as it was given and a signature that stands under the body."""
    desk.job(to=listener)

    desk.work()

    (one,) = listener.received
    assert (one.problems, one.status) == ([], 200)
    assert one.headers["authorization"] == TOKEN
    assert one.headers["webhook-timestamp"] == str(int(desk.clock.now()))
    assert one.document == {"job": "j", "state": "done", "page": {"n": 1, "of": 1}, "keys": [1, 2, 3]}
    assert desk.standing().state == "delivered"
    assert desk.events() == ["callback_pending", "callback_delivered"]


def test_altered_body_fails_the_signature(desk: Desk, listener: CallbackListener) -> None:
    """One bit of the body, its id or its time turned over, and the signature stands no longer."""
    desk.job(to=listener)
    desk.work()
    (one,) = listener.received

    flipped = bytes([one.body[0] ^ 1]) + one.body[1:]

    assert listener.problems(one.headers, one.body) == []
    for headers, body in (
        (one.headers, flipped),
        ({**one.headers, "webhook-id": "msg_other"}, one.body),
        ({**one.headers, "webhook-timestamp": "1"}, one.body),
    ):
        assert listener.problems(headers, body) == ["The signature does not stand under this body."]


def test_wrong_token_is_refused_by_the_sample_listener(desk: Desk, listener: CallbackListener) -> None:
    """A receiver that expects another token answers 401, and the callback stays pending."""
    desk.job(to=listener, token="another")

    desk.work()

    assert len(listener.received[0].problems) == 2
    stands = desk.standing()
    assert (stands.state, stands.last_status, stands.tries) == ("pending", 401, 1)


def test_secret_of_the_project_signs_in_place_of_the_token(desk: Desk, listener: CallbackListener) -> None:
    """With the setting `webhook_secret` the token is only sent."""
    desk.close()
    desk.open(webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    listener.secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    desk.job(to=listener)

    desk.work()

    assert [one.problems for one in listener.received] == [[]]


def test_callback_without_a_token_is_neither_authorized_nor_signed(desk: Desk, listener: CallbackListener) -> None:
    """Where there is no secret at all nothing pretends that there is."""
    desk.job(to=listener, token="")

    desk.work()

    assert {"authorization", "webhook-signature"}.isdisjoint(listener.received[0].headers)


@pytest.mark.parametrize(
    "state",
    [JobState.DONE, JobState.DONE_WITH_FAILURES, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED],
)
def test_callback_goes_out_at_every_end(desk: Desk, listener: CallbackListener, state: JobState) -> None:
    """However a job ends, its receiver hears of it, a job without records too."""
    desk.job(to=listener, records=0, ended=False)
    desk.work()
    assert listener.received == []

    desk.end("j", state)
    desk.work()

    assert [one.document["state"] for one in listener.received] == [state.value]


def test_each_round_of_a_job_is_reported(desk: Desk, listener: CallbackListener) -> None:
    """A retried job calls back again, with a page of its own; pages of the round before are sent no more."""
    desk.job(to=listener)
    listener.answer(500)
    desk.work()

    with desk.app.store.transaction() as tx:
        tx.jobs.move("j", JobState.RUNNING, at=desk.clock.now())
    desk.end("j", JobState.DONE_WITH_FAILURES)
    desk.work()
    desk.pass_time(timedelta(days=1))

    assert [(one.status, one.document["state"]) for one in listener.received] == [
        (500, "done"),
        (200, "done_with_failures"),
    ]
    assert desk.standing().state == "delivered"


def test_a_retry_before_the_end_was_told_leaves_one_callback(desk: Desk, listener: CallbackListener) -> None:
    """An end of which nothing was written yet is not told once it is none any more; the next one tells of all."""
    desk.job(to=listener)

    with desk.app.store.transaction() as tx:
        tx.jobs.move("j", JobState.RUNNING, at=desk.clock.now())
    desk.work()
    assert listener.received == []
    desk.end("j", JobState.DONE_WITH_FAILURES)
    desk.work()

    (one,) = listener.received
    assert (one.document["state"], one.document["keys"]) == ("done_with_failures", [1, 2, 3])
