"""What became of an answer: committed, late, repeated, or for nothing."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct, field

from limner.domain.jobs import JobState
from limner.domain.tasks import Answer
from limner.store.store import Transaction
from limner.store.tasks import StoredTask, TaskState

_STOPPED = (JobState.CANCELLING, JobState.CANCELLED, JobState.EXPIRED, JobState.FAILED)


class Taken(StrEnum):
    """How an answer was taken."""

    COMMITTED = "committed"
    #: It says nothing that was not known.
    DUPLICATE = "duplicate"
    #: The task had been given to another worker, and the answer counted all the same.
    LATE = "late_accepted"
    #: Nobody wants it any more.
    CANCELLED = "cancelled"
    #: There is no such task.
    REFUSED = "refused"


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of one answer."""

    task: int
    state: Taken
    #: Records of the task that are still open.
    open: int
    #: Why it was refused, or records of it were failed, in sentences.
    problems: list[str] = field(default_factory=list)


def stand_before(tx: Transaction, answers: Sequence[Answer]) -> list[Taken]:
    """How *answers* are about to be taken, before they are committed together."""
    said: dict[tuple[int, int], set[int]] = {}
    found = []
    for answer in answers:
        task = tx.tasks.any_state(answer.task)
        before = said.setdefault((task.node, task.version), set()) if task else set()
        found.append(Taken.DUPLICATE if before.issuperset(answer.keys) and before else _stand(tx, task, answer))
        before.update(answer.keys)
    return found


def _stand(tx: Transaction, task: StoredTask | None, answer: Answer) -> Taken:
    """How one answer is taken; *task* is the one that it is for."""
    if task is None:
        return Taken.REFUSED
    if task.state == TaskState.DROPPED:
        if successors(tx, task, answer):
            return Taken.LATE
        stopped = task.job is not None and tx.jobs.get(task.job).state in _STOPPED
        return Taken.CANCELLED if stopped else Taken.DUPLICATE
    if not set(task.keys) & set(answer.keys):
        return Taken.DUPLICATE
    return Taken.LATE if answer.attempt < task.attempt else Taken.COMMITTED


def receipts_after(tx: Transaction, answers: Sequence[Answer], stood: Sequence[Taken]) -> list[Receipt]:
    """The receipts of *answers* after they were committed; *stood* is how each was to be taken."""
    receipts = []
    for answer, state in zip(answers, stood, strict=True):
        task = tx.tasks.any_state(answer.task)
        problems = ["There is no such task here."] if state is Taken.REFUSED else []
        left = 0 if task is None else len(task.keys)
        receipts.append(Receipt(task=answer.task, state=state, open=left, problems=problems))
    return receipts


def successors(tx: Transaction, task: StoredTask, answer: Answer) -> list[StoredTask]:
    """The open tasks that hold records of a task that was replaced, for the same version."""
    if not answer.keys:
        return []
    wanted = set(answer.keys)
    found = tx.tasks.overlapping([task.node], first=min(wanted), last=max(wanted))
    return [one for one in found if one.version == task.version and wanted & set(one.keys)]


def redirected(tx: Transaction, answers: Sequence[Answer]) -> list[Answer]:
    """
    *answers*, those to tasks that were replaced given to the tasks that hold their records now.

    An answer of any attempt counts for records that are still open.
    """
    known = tx.tasks.load({answer.task for answer in answers})
    found = []
    for answer in answers:
        task = None if answer.task in known else tx.tasks.any_state(answer.task)
        if task is None or task.state != TaskState.DROPPED:
            found.append(answer)
            continue
        found += [_part(answer, one) for one in successors(tx, task, answer)]
    return found


def _part(answer: Answer, task: StoredTask) -> Answer:
    """What *answer* says of the records of *task*."""
    held = set(task.keys)
    places = [at for at, key in enumerate(answer.keys) if key in held]
    return Answer(
        task=task.pk,
        attempt=task.attempt,
        worker=answer.worker,
        outcomes=[answer.outcomes[at] for at in places],
        keys=[answer.keys[at] for at in places],
        asked=[answer.asked[at] for at in places],
        started=answer.started,
        seconds=answer.seconds * len(places) / len(answer.keys),
        # Whoever holds it now goes on with what is left.
        last=False,
        downloads=0,
    )
