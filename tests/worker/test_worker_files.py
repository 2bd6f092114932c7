"""A worker has files fetched once, for all stages and siblings."""

from datetime import timedelta

from limner.domain.failures import FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import (
    Answer,
    FileRef,
    Runtime,
    Task,
    encode_message,
)
from limner.testing.picture_server import Reply
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig, codes, pictures, values


def test_files_are_fetched_and_their_failures_spare_the_rest(rig: Rig) -> None:
    """A record without its file fails with the source's code; batches are filled with the others."""
    rig.server.plan("3.jpg", Reply(status=404))
    rig.server.plan("7.jpg", Reply(body="empty"))
    rig.server.plan("9.jpg", Reply(status=503, retry_after="7"))
    one = pictures(rig, [f"{number}.jpg" for number in range(20)])
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert codes(outcomes) == {
        3: FailureCode.SOURCE_NOT_FOUND,
        7: FailureCode.SOURCE_TRUNCATED,
        9: FailureCode.SOURCE_UNAVAILABLE,
    }
    failure = outcomes[9].failure
    assert failure is not None
    assert failure.retry_after == 7
    assert values(outcomes) == {number: number + 1 for number in range(20) if number not in (3, 7, 9)}
    assert sum(message.downloads for message in rig.heard if isinstance(message, Answer)) == 17
    assert rig.server.total() == 20


def test_three_stages_share_one_download(rig: Rig) -> None:
    """Three topics that read the same pictures at the same moment make one request a picture."""
    rig.server.delay = timedelta(milliseconds=20)
    names = [f"{number}.jpg" for number in range(10)]
    tasks = []
    for number in range(3):
        one = pictures(rig, names, number=number)
        stage = runtime("size", reads={"picture": FileRead()})
        address = f"test.size{number}/default"
        renamed = Runtime(**{name: getattr(stage, name) for name in stage.__struct_fields__} | {"address": address})
        tasks.append(Task(**{name: getattr(one, name) for name in one.__struct_fields__} | {"runtime": renamed}))
    rig.worker(*(one.runtime.address for one in tasks))
    rig.send(*tasks)

    ends: set[int] = set()
    while len(ends) < 3:
        heard = rig.hear(lambda message: isinstance(message, Answer) and message.last)
        ends |= {message.task for message in heard if isinstance(message, Answer) and message.last}

    assert rig.server.total() == 10
    assert sum(message.downloads for message in rig.heard if isinstance(message, Answer)) == 10


def test_the_next_task_is_fetched_while_one_infers(rig: Rig) -> None:
    """Its pictures are here before the first task has ended."""
    slow = task(runtime("slow", batch=1), range(3), number=1)
    read = runtime("slow", reads={"number": FileRead()})
    refs = [encode_message(FileRef(url=rig.server.url(f"{number}.jpg"))) for number in range(5)]
    rig.send(slow, task(read, [], columns={"number": refs}, number=2))
    rig.worker(slow.runtime.address)

    heard = rig.hear(lambda message: isinstance(message, Answer) and message.task == 1 and message.last)

    assert rig.server.total() == 5
    assert all(message.task == 1 for message in heard if isinstance(message, Answer))


def test_siblings_share_one_file(rig: Rig) -> None:
    """A picture that many records of a task read is fetched once, and stays until the last of them is done."""
    names = ["7.jpg"] * 30 + ["8.jpg"] + ["7.jpg"] * 9
    one = pictures(rig, names, batch=4)
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert [value for _, value in sorted(values(outcomes).items())] == [8] * 30 + [9] + [8] * 9
    assert rig.server.total() == 2
