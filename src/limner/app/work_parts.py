"""Some records of a task that a worker gives back, and keeps the others."""

from collections.abc import Sequence

from limner.app.work_wire import from_key
from limner.store.store import Transaction
from limner.store.tasks import NewTask, StoredTask, Tally


def give_part_back(tx: Transaction, task: int, keys: Sequence[str], *, now: float) -> bool:
    """
    Make a task of its own of the records of *task* that *keys* name; False where that would leave nothing of it.

    A task that is no more, and keys that it does not hold, are passed over.
    """
    wanted = {key for key in map(_key, keys) if key is not None}
    stored = tx.tasks.load([task]).get(task)
    if stored is None:
        return True
    rest = [key for key in stored.keys if key not in wanted]
    given = [key for key in stored.keys if key in wanted]
    if rest and given:
        tx.tasks.plan([_again(stored, given)], now=now)
        tx.tasks.tally([Tally(pk=task, open=rest)])
    return bool(rest)


def _again(stored: StoredTask, keys: Sequence[int]) -> NewTask:
    """A task of some records of another, as if it had not been handed out."""
    return NewTask(
        node=stored.node,
        version=stored.version,
        keys=keys,
        job=stored.job,
        priority=stored.priority,
        tried=stored.tried,
        lost=stored.lost,
    )


def _key(text: str) -> int | None:
    """The record that a key on the wire names; None where it names none."""
    try:
        return from_key(text)[0]
    except ValueError:
        return None
