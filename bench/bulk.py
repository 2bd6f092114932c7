"""Many records with all that is known of them: what the engine wrote of a few is copied within the database."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

from sqlalchemy import ColumnElement, Table, and_, func, insert, select

from limner.domain.jobs import Fate
from limner.domain.records import RecordIn
from limner.store.store import Transaction
from limner.store.work_tables import records, results, tasks

PIPELINE, COLLECTION = "tiny", "things"
#: Records that the engine takes in and infers itself; all others are copies of them, under other ids and keys.
BLOCK = 10_000
#: Hexadecimal digits of an id; each block turns them by one more, so that its ids lie elsewhere in an index.
_DIGITS = 16
#: Records of which one row of the journal says that they have results: as many as a busy commit of the engine has.
_COMMIT = 4_096


def double(n: list[int]) -> list[dict[str, int]]:
    """Stage 1."""
    return [{"x": 2 * one} for one in n]


def square(n: list[int]) -> list[dict[str, int]]:
    """Stage 2."""
    return [{"x": one * one} for one in n]


def identity(number: int) -> str:
    """The id of record *number*; they come in no order, as digests and UUIDs, which is what an index likes least."""
    block, place = divmod(number, BLOCK)
    digits, turn = _digits(place), block % _DIGITS
    return f"{digits[turn:]}{digits[:turn]}-{block}"


@lru_cache(maxsize=BLOCK)
def _digits(place: int) -> str:
    return blake2b(place.to_bytes(8, "little"), digest_size=_DIGITS // 2).hexdigest()


def record(number: int, *, changed: int = 0) -> RecordIn:
    """Record *number*."""
    return RecordIn(collection=COLLECTION, id=identity(number), fields={"n": number % BLOCK + changed})


def copy_block(tx: Transaction, block: int, *, owner: str, now: float, stages: int = 2) -> None:
    """
    Write block number *block*: block 0 once more, with its results, tasks, fates and rows of the journal.

    Block 0 is what the engine wrote first, so its keys begin at 1, and so do those of its results, one for each stage.
    """
    ended = tx.connection.execute(select(func.min(tasks.c.pk), func.count()).where(tasks.c.last <= BLOCK)).one()
    first, first_task = tx.records.allocate("records", BLOCK), tx.tasks.allocate("tasks", ended[1])
    on, on_task = first - 1, first_task - ended[0]
    turn = block % _DIGITS
    digits = func.substr(records.c.id, turn + 1, _DIGITS - turn).concat(func.substr(records.c.id, 1, turn))
    _copy(tx, records, {"pk": records.c.pk + on, "id": digits.concat(f"-{block}")}, where=records.c.pk <= BLOCK)
    moved = {"pk": tasks.c.pk + on_task, "first": tasks.c.first + on, "last": tasks.c.last + on}
    _copy(tx, tasks, moved, where=tasks.c.last <= BLOCK)
    made = {"record": results.c.record + on, "task": results.c.task + on_task}
    # By their own keys: SQLite would look through all results for those of some records, to have them in order.
    _copy(tx, results, made, where=and_(results.c.pk <= stages * BLOCK, results.c.record <= BLOCK), leave="pk")
    keys = range(first, first + BLOCK)
    collection = tx.records.collection(COLLECTION)
    tx.ledger.enter(owner, dict.fromkeys(keys, Fate.DONE))
    tx.journal.write(collection, keys, kind="records", at=now)
    for start in range(0, BLOCK, _COMMIT // 2):
        tx.journal.write(collection, keys[start : start + _COMMIT // 2], kind="results", at=now)


def _copy(
    tx: Transaction,
    table: Table,
    changed: Mapping[str, ColumnElement[object]],
    *,
    where: ColumnElement[bool],
    leave: str = "",
) -> None:
    """Insert the rows of *table* for which *where* holds once more, with some columns *changed*."""
    names = [column.name for column in table.c if column.name != leave]
    rows = select(*(changed.get(name, table.c[name]) for name in names)).where(where).order_by(table.c.pk)
    tx.connection.execute(insert(table).from_select(names, rows))
