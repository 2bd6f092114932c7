"""Tests of what a worker says of one task."""

from datetime import timedelta

import pytest

from limner.clock import MovedClock
from limner.domain.failures import LOCAL_FILE, Failure, FailureCode
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.retry import RetryPolicy
from limner.domain.tasks import Answer, FileRef, FromWorker, Outcome, Runtime, Status, Task, encode_message
from limner.worker.cache import Hold
from limner.worker.report import Report


def _task(url: str) -> Task:
    runtime = Runtime(
        address="p.look/default",
        infer="looks:look",
        kind=StageKind.MAP,
        params={},
        model=None,
        reads={"image": FileRead()},
        outputs={},
        batch=1,
        timeout=timedelta(seconds=5),
    )
    return Task(
        id=1,
        attempt=1,
        runtime=runtime,
        version="00",
        records=["one"],
        keys=[7],
        columns={"image": [encode_message(FileRef(url=url))]},
        prior=[b""],
        asked=[b""],
    )


@pytest.mark.parametrize(
    ("url", "reason", "again"),
    [("file:///pictures/one.jpg", LOCAL_FILE, False), ("https://pictures.example/one.jpg", None, True)],
)
def test_a_cut_file_is_read_again_only_where_it_may_have_mended(url: str, reason: str | None, again: bool) -> None:
    """What a server cut short is asked for again; a file on this machine is not."""
    # given
    sent: list[FromWorker] = []
    report = Report(_task(url), worker="w", send=sent.append, clock=MovedClock(), hold=Hold())
    cut = Failure(code=FailureCode.SOURCE_TRUNCATED, message="It ends before its end mark.")

    # when
    report.add([Outcome(0, Status.FAILED, failure=cut)])
    report.finish()

    # then
    answer = sent[-1]
    assert isinstance(answer, Answer)
    failure = answer.outcomes[0].failure
    assert failure is not None
    assert failure.reason == reason
    assert RetryPolicy().allows(failure, tried=1) is again
