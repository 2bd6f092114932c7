"""Jobs to publish: a library whose rows are made here, and what a model said of them."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from limner.domain.failures import FailureCode
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.library.index import Library, record_id
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release
from limner.systems.ersilia.precalc.nouns import Counts, Facts, PublishRow
from limner.systems.ersilia.predictions.publication import Publication
from tests.systems.ersilia.prediction_table_contract import key_of, release_of

BAD_SMILES = Failed(code=FailureCode.INPUT_INVALID, reason="bad_smiles", message="bad_smiles: RDKit cannot read it.")
COMMAND_FAILED = Failed(
    code=FailureCode.MODEL_ERROR, reason="command_failed", message="command_failed: exit 1, said:\n!"
)
WIDE = release_of("eos5axz", columns=[Column(name=f"bit-{n:04}", type=ColumnType.INTEGER) for n in range(2048)])


class Made(Struct, frozen=True, kw_only=True):
    """
    Opens batches of made rows: molecule number n has a key of its own and the values of ``value_of(n)``.

    It is its own batches, and is pickled on its way to other processes.
    """

    rows_each: int
    count: int
    wide: bool = False
    #: Molecules whose row is cut out of its place, for a failure: those that cannot be read, and those that failed.
    bad: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    #: Added to every value.
    more: float = 0.0
    #: The process that first comes to this batch is killed half-way through it; a file remembers that it was.
    killed_in: int | None = None
    remembers: str = ""
    #: Seconds that a batch takes at least.
    slow: float = 0.0

    def __call__(self) -> "Made":
        """Open them."""
        return self

    def __len__(self) -> int:
        """How many batches there are."""
        return -(-self.count // self.rows_each)

    def rows(self, number: int) -> Iterator[PublishRow]:
        """One batch."""
        for place in range(number * self.rows_each, min(self.count, (number + 1) * self.rows_each)):
            if number == self.killed_in and place % self.rows_each == self.rows_each // 2:
                self._die_once()
            yield PublishRow(row=place + 1, prediction=self.prediction(place))
        if self.slow:
            time.sleep(self.slow)  # the load of a real batch, so that two of them overlap

    def prediction(self, n: int) -> Prediction:
        """What is published of molecule *n*."""
        smiles = "C" * (n % 40 + 1) + f"[{n}CH4]"
        if n in self.bad:
            return Prediction(key="", smiles=smiles, failed=BAD_SMILES, record=record_id(smiles))
        if n in self.failed:
            return Prediction(key=key_of(n), smiles=smiles, failed=COMMAND_FAILED, record=record_id(smiles))
        values = _bits(n % 50) if self.wide else (n / 7 + self.more,)
        return Prediction(key=key_of(n), smiles=smiles, values=values, record=record_id(smiles))

    def _die_once(self) -> None:
        memory = Path(self.remembers)
        if not memory.exists():
            memory.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)


class Given(Struct, frozen=True, kw_only=True):
    """Opens batches of predictions as they are given."""

    batches: tuple[tuple[Prediction, ...], ...]

    def __call__(self) -> "Given":
        """Open them."""
        return self

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.batches)

    def rows(self, number: int) -> Iterator[PublishRow]:
        """One batch; its rows are numbered from where the earlier ones end."""
        before = sum(len(batch) for batch in self.batches[:number])
        for place, prediction in enumerate(self.batches[number]):
            yield PublishRow(row=before + place + 1, prediction=prediction)


@lru_cache(maxsize=50)
def _bits(n: int) -> tuple[Cell, ...]:
    return tuple((n * place) % 5 for place in range(2048))


def facts_of(
    batches: Made | Given, *, job: str = "job-1", release: Release | None = None, scheme: KeyScheme = KeyScheme.INCHIKEY
) -> Facts:
    """What is told of the job."""
    wide = isinstance(batches, Made) and batches.wide
    rows = [row.prediction for number in range(len(batches)) for row in batches.rows(number)] if not wide else []
    total = len(rows) or getattr(batches, "count", 0)
    failed = sum(row.failed is not None for row in rows)
    counts = Counts(
        rows=total,
        stored=total - failed,
        failed=failed,
        skipped=0,
        cancelled=0,
        duplicate_row=0,
        duplicate_key=0,
        blank_lines=0,
    )
    library = Library(
        name="library.csv",
        sha256="cd" * 32,
        rows=total,
        blank_lines=0,
        molecules=total,
        duplicate_rows=0,
        set_aside=0,
        scheme=scheme,
        keyed=False,
    )
    return Facts(
        job=job,
        release=release or (WIDE if wide else release_of()),
        scheme=scheme,
        library=library,
        started=1_700_000_000.0,
        workers=2,
        shards=[],
        counts=counts,
    )


def publication_of(
    batches: Made | Given,
    *,
    table: Path,
    places: Sequence[str | Path] = (),
    facts: Facts | None = None,
) -> Publication:
    """A job on its way to the table in the file *table* and to *places*."""
    return Publication(
        facts=facts or facts_of(batches),
        batches=batches,
        table=f"sqlite:///{table}",
        places=tuple(map(str, places)),
    )
