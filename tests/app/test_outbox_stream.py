"""Callbacks that report records as they finish."""

from datetime import timedelta

from limner.domain.jobs import Fate, JobState
from limner.testing.listener import CallbackListener
from tests.app.calling import Desk


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
