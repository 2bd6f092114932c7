"""What became of every row of a library: one pass over its index and the engine's results, kept as one Parquet."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from limner.domain.failures import Failure, FailureCode
from limner.domain.nodes import Node
from limner.domain.tasks import Status
from limner.domain.values import decode
from limner.engine.views import View
from limner.sources.seen import Seen
from limner.store.store import Store, Transaction
from limner.systems.ersilia.library.index import IndexRow, LibraryIndex
from limner.systems.ersilia.nouns import Failed, KeyScheme
from limner.systems.ersilia.precalc.nouns import Counts
from limner.systems.ersilia.reasons import Reason

if TYPE_CHECKING:
    import pyarrow as pa


#: Rows that a tally names one by one.
_SHOWN = 1_000


class State(StrEnum):
    """What became of one row."""

    STORED = "stored"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    DUPLICATE_ROW = "duplicate_row"
    DUPLICATE_KEY = "duplicate_key"


class FateRow(Struct, frozen=True, kw_only=True):
    """One row of a library and what became of it."""

    row: int
    #: What it is published under; where there is none, the key that the file gives, or nothing.
    key: str
    smiles: str
    #: Id and key of its record; empty and 0 where there is none.
    record: str
    pk: int
    state: State
    failed: Failed | None = None
    #: Of a repeat: the row that it repeats; else 0.
    first: int = 0


class _Said(Struct, frozen=True, kw_only=True):
    """What the engine holds of one record."""

    pk: int
    identified: Status | None
    inchikey: str | None
    predicted: Status | None
    failure: Failure | None


class Fates:
    """Follows a library in its order, so that the first spelling of a molecule wins its key."""

    def __init__(self, store: Store, view: View, *, scheme: KeyScheme) -> None:
        self._store = store
        self._view = view
        self._scheme = scheme
        self._taken = Seen()
        self._identify, self._predict = (_node(view, name) for name in ("identify", "predict"))

    def over(self, index: LibraryIndex) -> Iterator[FateRow]:
        """What became of every row, in order; to be asked once."""
        for number in range(index.batches):
            rows = index.batch(number)
            with self._store.reading() as tx:
                said = self._said(tx, sorted({row.record for row in rows if row.record}))
            yield from (self._fate(row, said.get(row.record)) for row in rows)

    def _said(self, tx: Transaction, ids: Sequence[str]) -> dict[str, _Said]:
        keys = tx.records.keys(self._view.root, ids)
        pks = sorted(keys.values())
        held = tx.results.held(pks, versions=self._view.versions, with_value=frozenset({self._identify.pk}))
        identified, predicted = held.get(self._identify.pk, {}), held.get(self._predict.pk, {})
        failures = self._failures(tx, pks)
        found = {}
        for identity, pk in keys.items():
            mine, outcome = identified.get(pk), predicted.get(pk)
            value = decode(mine.value) if mine is not None and mine.value else {}
            found[identity] = _Said(
                pk=pk,
                identified=None if mine is None else mine.status,
                inchikey=value.get("inchikey") if isinstance(value, Mapping) else None,
                predicted=None if outcome is None else outcome.status,
                failure=failures.get(pk),
            )
        return found

    def _failures(self, tx: Transaction, pks: Sequence[int]) -> dict[int, Failure]:
        """By record: what it failed with first, in the order of the stages."""
        if not pks:
            return {}
        versions, span = self._view.versions, (pks[0], pks[-1])
        rows = tx.results.failed(versions=versions, span=span, limit=2 * (pks[-1] - pks[0] + 1))
        order = {node.pk: place for place, node in enumerate(self._view.nodes)}
        return {row[0]: row[4] for row in sorted(rows, key=lambda row: (row[0], -order[row[1]]))}

    def _fate(self, row: IndexRow, said: _Said | None) -> FateRow:
        made = FateRow(
            row=row.row,
            key=row.key or "",
            smiles=row.smiles,
            record=row.record,
            pk=0 if said is None else said.pk,
            state=State.FAILED,
        )
        if row.reason is not None and row.reason is not Reason.DUPLICATE_ROW:
            return structs.replace(made, failed=_failed(row.reason, row.message))
        if said is None or said.identified is None:
            return structs.replace(made, state=State.CANCELLED)
        if said.identified is not Status.DONE:
            return structs.replace(made, failed=_told(said.failure))
        key = row.record if self._scheme is KeyScheme.MD5 else said.inchikey
        if not key:
            told = "InChI knows no key for it, as of a molecule with wildcard atoms; --keys md5 does without."
            return structs.replace(made, failed=_failed(Reason.NO_KEY, told))
        if row.key and row.key != key:
            told = f"The file gives the key {row.key}, and the molecule has {key}."
            return structs.replace(made, failed=_failed(Reason.KEY_MISMATCH, told))
        return self._keyed(structs.replace(made, key=key), row, said)

    def _keyed(self, made: FateRow, row: IndexRow, said: _Said) -> FateRow:
        """The fate of a row whose key is right."""
        first = self._taken.first(made.key, row=row.row)
        if first != row.row:
            same = row.reason is Reason.DUPLICATE_ROW
            return structs.replace(made, state=State.DUPLICATE_ROW if same else State.DUPLICATE_KEY, first=first)
        if said.predicted is Status.DONE:
            return structs.replace(made, state=State.STORED)
        if said.predicted is Status.FAILED:
            return structs.replace(made, failed=_told(said.failure))
        return structs.replace(made, state=State.SKIPPED if said.predicted is Status.SKIPPED else State.CANCELLED)


class Tally:
    """Counts rows by what became of them, as they pass."""

    def __init__(self) -> None:
        self._states: Counter[State] = Counter()
        self._reasons: Counter[str] = Counter()
        #: What became of the first rows that were not stored.
        self.by_row: dict[int, str] = {}

    def counting(self, rows: Iterable[FateRow]) -> Iterator[FateRow]:
        """Pass *rows* on."""
        for row in rows:
            self._states[row.state] += 1
            reason = _reason(row)
            if reason is not None:
                self._reasons[reason] += 1
                if len(self.by_row) < _SHOWN:
                    self.by_row[row.row] = f"{reason} of {row.first}" if row.first else reason
            yield row

    def counts(self, *, blank_lines: int) -> Counts:
        """What was counted so far."""
        return Counts(
            rows=self._states.total(),
            **{state.value: self._states[state] for state in State},
            blank_lines=blank_lines,
            reasons=dict(sorted(self._reasons.items())),
        )


def _reason(row: FateRow) -> str | None:
    if row.state is State.FAILED and row.failed is not None:
        return row.failed.reason
    return row.state.value if row.first else None


class FatesFile:
    """The fates of a library's rows as they were written, a batch at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return int(self._file.num_row_groups)

    def batch(self, number: int) -> list[FateRow]:
        """The rows of a batch, in order; batches count from 0."""
        return _rows_of(self._file.read_row_group(number))

    def rows(self) -> Iterator[FateRow]:
        """Every row, in order."""
        for number in range(self.batches):
            yield from self.batch(number)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def write_fates(rows: Iterator[FateRow], *, sizes: Sequence[int], to: Path) -> None:
    """Write fates as they come, in batches of these *sizes*; equal fates give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("key", "smiles", "record", "state", "code", "reason", "message")
    types: dict[str, pa.DataType] = {"row": pa.int32(), "pk": pa.int64(), "first": pa.int32()}
    schema = pa.schema({**types, **dict.fromkeys(texts, pa.string())})
    with pq.ParquetWriter(to, schema, compression="zstd") as writer:
        for size in sizes:
            batch = list(islice(rows, size))
            columns = {name: [_cell(row, name) for row in batch] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))


def _cell(row: FateRow, name: str) -> object:
    if name in ("code", "reason", "message"):
        return None if row.failed is None else getattr(row.failed, name)
    return getattr(row, name)


def _rows_of(table: "pa.Table") -> list[FateRow]:
    found = []
    for row in table.to_pylist():
        code, reason, message = row.pop("code"), row.pop("reason"), row.pop("message")
        failed = None if reason is None else Failed(code=FailureCode(code), reason=reason, message=message)
        found.append(FateRow(**{**row, "state": State(row["state"])}, failed=failed))
    return found


def _node(view: View, stage: str) -> Node:
    return next(node for node in view.nodes if node.stage.name == stage)


def _failed(reason: Reason, message: str) -> Failed:
    told = message if message.startswith(f"{reason.value}:") else f"{reason.value}: {message}"
    return Failed(code=reason.code, reason=reason.value, message=told)


def _told(failure: Failure | None) -> Failed:
    """A failure of the engine in this system's words."""
    if failure is None:
        return Failed(code=FailureCode.MODEL_ERROR, reason=Reason.COMMAND_FAILED.value, message="It failed.")
    reason = failure.reason or Reason.COMMAND_FAILED.value
    return Failed(code=failure.code, reason=reason, message=failure.message)
