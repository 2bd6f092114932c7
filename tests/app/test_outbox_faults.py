"""Callbacks whose sender dies, whose job moves, or whose body cannot be made: nothing lost, nothing stale sent."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta

from structlog.testing import capture_logs

from limner.app.callback_body import Hosting
from limner.app.callback_pages import Format
from limner.clock import SystemClock
from limner.domain.jobs import Job, JobState
from limner.domain.values import Value
from limner.testing.listener import CallbackListener
from tests.app.calling import PATIENCE, Desk, keys_of, keys_told

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


def test_outbox_that_stops_begins_nothing_more(desk: Desk, listener: CallbackListener) -> None:
    """What was due stays in the store for the next process."""
    desk.job(to=listener)
    desk.outbox.stop(PATIENCE)

    assert not desk.outbox.tick(desk.clock.now())
    desk.app.close()
    desk.open()
    desk.work()

    assert len(listener.received) == 1
