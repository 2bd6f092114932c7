"""Callbacks: real receivers, real signatures, a clock that is moved."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limner.app.callback_body import Hosting
from limner.app.callback_pages import Format
from limner.app.outbox import DELAYS, Outbox
from limner.app.receivers import check_receiver
from limner.clock import SystemClock
from limner.domain.failures import FailureCode
from limner.domain.jobs import Fate, Job, JobState
from limner.domain.values import Value
from limner.errors import AddressRefused, IllegalMove, NotFound, UsageError
from limner.testing.listener import CallbackListener
from tests.app.calling import PATIENCE, SECOND, TOKEN, Desk, keys_of, keys_told

TROUBLE = {"on": False}
#: A process that sends what is due, in the project of its first argument, to the receiver of its second.
SENDER = """
import sys
from limner.app.app import open_app
from limner.app.outbox import Outbox
from limner.app.redelivering import Alone
from limner.app.secrets import ServerKey

app = open_app(sys.argv[1], allow_hosts=[sys.argv[2]])
host = Alone(name="default", app=app, store=app.store, clock=app.clock)
outbox = Outbox(host, key=ServerKey.of(app.project, clock=app.clock))
outbox.deliver("j")
"""


def troubled(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """A body that cannot be made while there is trouble."""
    if TROUBLE["on"]:
        raise RuntimeError("no body")
    return keys_of(host, job, keys)


@pytest.fixture
def listener() -> Iterator[CallbackListener]:
    """A receiver that knows the token."""
    with CallbackListener(token=TOKEN) as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, listener: CallbackListener) -> Iterator[Desk]:
    """A project whose callbacks go to the receiver."""
    made = Desk(tmp_path / "project", listener)
    yield made
    made.close()


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


def test_slow_receiver_holds_up_nobody(tmp_path: Path) -> None:
    """While one receiver hangs the others are served, and it gets no second call at the same time."""
    slow, quick = CallbackListener(token=TOKEN), CallbackListener(token=TOKEN)
    with slow, quick:
        desk = Desk(tmp_path / "project", slow, quick)
        slow.hang()
        for name in ("a", "b"):
            desk.job(name, to=slow)
        desk.tick()
        desk.outbox.tick(desk.clock.now())
        assert slow.wait_for(1)

        desk.job("c", to=quick)
        desk.outbox.collect("c")
        desk.outbox.tick(desk.clock.now())
        assert quick.wait_for(1)
        assert slow.received == []
        slow.release()
        assert desk.outbox.wait(PATIENCE)
        desk.work()

        assert len(slow.received) == 2
        assert slow.most_at_once == 1
        desk.close()


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


def test_no_transaction_is_open_while_a_call_is_out(desk: Desk, listener: CallbackListener) -> None:
    """The store is written to while a receiver hangs."""
    desk.job(to=listener)
    listener.hang()
    desk.tick()
    desk.outbox.tick(desk.clock.now())
    assert listener.wait_for(1)

    with desk.app.store.transaction() as tx:
        tx.jobs.event("j", "written meanwhile", at=1.0)
    listener.release()
    assert desk.outbox.wait(PATIENCE)

    assert desk.standing().state == "delivered"


def test_crash_between_answer_and_commit_sends_the_page_again(desk: Desk, listener: CallbackListener) -> None:
    """A page whose sender died is due again after its time, with the same id: the receiver may know it."""
    desk.job(to=listener)
    desk.tick()
    with desk.app.store.transaction() as tx:
        lost = tx.deliveries.claim(now=desk.clock.now(), until=desk.clock.now() + 45)
    assert lost is not None
    desk.close()
    desk.open()

    desk.work()
    assert listener.received == []
    desk.pass_time(timedelta(seconds=45))

    assert [one.webhook_id for one in listener.received] == [lost.webhook_id]
    assert desk.standing().tries == 2


def test_process_that_is_killed_during_a_call_loses_nothing(desk: Desk, listener: CallbackListener) -> None:
    """kill -9 while a receiver thinks: the next process sends the same page, under the same id, and it is taken."""
    desk.job(to=listener)
    desk.outbox.collect("j")
    desk.close()
    listener.hang()
    with subprocess.Popen([sys.executable, "-c", SENDER, str(desk.folder), listener.host]) as sender:
        came = listener.wait_for(1)
        sender.kill()
    listener.release()
    assert came

    desk.open(at=SystemClock().now() + 60)
    desk.work()

    assert len({(one.webhook_id, one.body) for one in listener.received}) == 1
    assert (desk.standing().state, desk.standing().tries) == ("delivered", 2)


def test_crash_between_end_and_outbox_loses_nothing(desk: Desk, listener: CallbackListener) -> None:
    """A process that dies after a job's end, with half of its pages written, leaves the callback to the next."""
    desk.job(to=listener)
    with desk.app.store.transaction() as tx:
        tx.deliveries.write("j", b"half", round_=1, host=listener.host, webhook_id="x", page=1, records=1, at=1.0)
    desk.close()
    desk.open()

    desk.work()

    assert keys_told(listener) == [1, 2, 3]


def test_job_that_moves_while_its_pages_are_written_is_reported_as_it_is_then(
    desk: Desk, listener: CallbackListener
) -> None:
    """Pages that say what is no longer so are never sent."""

    def retried(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
        with host.store.transaction() as tx:
            if tx.jobs.get(job.id).state is JobState.DONE:
                tx.jobs.move(job.id, JobState.RUNNING, at=host.clock.now())
        return keys_of(host, job, keys)

    desk.formats["retried"] = Format(body=retried)
    desk.close()
    desk.open()
    desk.job(to=listener, format_="retried")

    desk.work()
    assert listener.received == []
    desk.end("j", JobState.CANCELLED)
    desk.work()

    assert [one.document["state"] for one in listener.received] == ["cancelled"]


def test_redirect_is_not_followed(desk: Desk, listener: CallbackListener) -> None:
    """A redirect counts as refused, and nothing is sent to where it leads."""
    desk.job(to=listener)
    with CallbackListener(token=TOKEN) as other:
        listener.answer(307, headers={"Location": other.url})

        desk.work()

        assert other.received == []
    assert "redirects are not followed" in str(desk.standing().last_error)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "file:///etc/passwd"])
def test_address_that_is_not_allowed_is_never_called(desk: Desk, url: str) -> None:
    """Private, link-local and file addresses are refused when they are called, and the sentence says so."""
    desk.job(to=url)

    desk.work()

    stands = desk.standing()
    assert (stands.state, stands.last_status) == ("pending", None)
    assert "allow_hosts" in str(stands.last_error) or "cannot be fetched" in str(stands.last_error)


def test_receiver_is_looked_at_before_it_is_accepted(desk: Desk, listener: CallbackListener) -> None:
    """A request with a callback that could never be sent can be refused at once."""
    check_receiver(listener.url, TOKEN, guard=desk.app.guard())
    with pytest.raises(AddressRefused, match="metadata"):
        check_receiver("http://169.254.169.254/", TOKEN, guard=desk.app.guard())
    with pytest.raises(AddressRefused):
        check_receiver("", TOKEN, guard=desk.app.guard())
    with pytest.raises(UsageError, match="header"):
        check_receiver(listener.url, "two\nlines", guard=desk.app.guard())


def test_stream_reports_records_as_they_finish(desk: Desk, listener: CallbackListener) -> None:
    """Each record is reported once, in sets with a pause between them, and the end is told at the end."""
    desk.job(to=listener, mode="stream", records=4, ended=False)
    desk.settle("j", {1: Fate.DONE})
    desk.work()
    desk.settle("j", {2: Fate.FAILED})
    desk.work()
    early = [one.document["keys"] for one in listener.received]
    desk.pass_time(timedelta(seconds=10))
    desk.settle("j", {3: Fate.DONE, 4: Fate.SKIPPED})
    desk.end("j", JobState.DONE_WITH_FAILURES)
    desk.work()

    assert early == [[1]]
    told = [(one.document["state"], one.document["keys"]) for one in listener.received]
    assert told == [("running", [1]), ("running", [2]), ("done_with_failures", [3, 4])]
    assert [one.document["page"] for one in listener.received] == [{"n": 1, "of": 1}] * 3
    assert desk.outbox.redeliver("j") == 3


def test_stream_without_anything_new_tells_the_end_alone(desk: Desk, listener: CallbackListener) -> None:
    """A job whose records were all reported still says how it ended."""
    desk.job(to=listener, mode="stream", records=1, ended=False)
    desk.settle("j", {1: Fate.DONE})
    desk.work()
    desk.end("j")
    desk.work()

    assert [(one.document["state"], one.document["keys"]) for one in listener.received] == [
        ("running", [1]),
        ("done", []),
    ]


def test_body_that_cannot_be_made_is_made_later(desk: Desk, listener: CallbackListener) -> None:
    """A system's format that breaks holds up no other job, and its callback goes out once it works."""
    desk.formats["troubled"] = Format(body=troubled)
    desk.close()
    desk.open()
    TROUBLE["on"] = True
    desk.job("a", to=listener, format_="troubled")
    desk.job("b", to=listener)

    with capture_logs() as logs:
        desk.work()
    TROUBLE["on"] = False
    first = [one.document["job"] for one in listener.received]
    desk.pass_time(timedelta(seconds=60))

    assert [line["job"] for line in logs if line["event"] == "callback_not_written"] == ["a"]
    assert (first, [one.document["job"] for one in listener.received]) == (["b"], ["b", "a"])


def test_tokens_are_in_no_log_and_in_no_row(
    desk: Desk, listener: CallbackListener, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither our own lines nor those of the HTTP client nor the database file hold a callback's token."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        desk.job("a", to=listener)
        desk.job("b", to=listener, token=f"{TOKEN}\nsecond line")
        desk.work()
        listener.down()
        desk.outbox.redeliver("a")
        desk.work()

    assert logs
    assert caplog.records
    stored = b"".join(file.read_bytes() for file in (desk.folder / ".limner").glob("limner.db*"))
    assert TOKEN not in repr(logs) + caplog.text
    assert TOKEN.encode() not in stored


def test_outbox_that_stops_begins_nothing_more(desk: Desk, listener: CallbackListener) -> None:
    """What was due stays in the store for the next process."""
    desk.job(to=listener)
    desk.outbox.stop(PATIENCE)

    assert not desk.outbox.tick(desk.clock.now())
    desk.app.close()
    desk.open()
    desk.work()

    assert len(listener.received) == 1
