"""One batch of a job on its way to every place that lacks it."""

import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice

from msgspec import Struct, structs

from limner.clock import Clock, SystemClock
from limner.systems.ersilia.nouns import Failed, Prediction
from limner.systems.ersilia.precalc.nouns import Facts, PublishRow
from limner.systems.ersilia.predictions.base import Written
from limner.systems.ersilia.predictions.connect import connect_own, connect_place
from limner.systems.ersilia.predictions.cursor import Outcome
from limner.systems.ersilia.predictions.places import Batches, OpenBatches, Place
from limner.systems.ersilia.predictions.settled import settled
from limner.systems.ersilia.predictions.shards import aside_lines
from limner.systems.ersilia.predictions.table_place import TablePlace

#: Under this name it is noted what a batch came to by itself, wherever it was written to.
ITSELF = ""
#: Values, and rows, that are held in memory at a time.
_CELLS, _ROWS = 1_000_000, 10_000


class Publication(Struct, frozen=True, kw_only=True):
    """What a process must know to publish batches of a job; it is pickled on the way there."""

    facts: Facts
    batches: OpenBatches
    #: URL of the project's own prediction table, which notes what is published.
    table: str
    #: Where else the predictions go: folders, ``s3://`` and ``dynamodb://`` addresses.
    places: tuple[str, ...] = ()
    #: Whether they go into the project's own table too; not where they come from it.
    own: bool = True


class Publishing:
    """Publishes batches in one process."""

    def __init__(self, publication: Publication, *, clock: Clock | None = None) -> None:
        self.facts = publication.facts
        self._clock = clock or SystemClock()
        self.table = connect_own(publication.table, clock=self._clock)
        self.cursor = self.table.cursor()
        others = [connect_place(url, cursor=self.cursor, clock=self._clock) for url in publication.places]
        #: The project's own table, and all others.
        self.places: list[Place] = [TablePlace(self.table), *others] if publication.own else others
        self._open_batches = publication.batches
        self._batches: Batches | None = None

    @property
    def batches(self) -> Batches:
        """The rows."""
        if self._batches is None:
            self._batches = self._open_batches()
        return self._batches

    def lacks(self, number: int) -> list[Place]:
        """The places that do not have the batch."""
        known = self.cursor.places(self.facts.job, number)
        if ITSELF not in known:
            return self.places
        return [place for place in self.places if place.name not in known]

    def publish(self, number: int) -> None:
        """Write a batch to every place that lacks it; when this returns, it lies there for good."""
        places = self.lacks(number)
        if not places:
            return
        began = self._clock.now()
        came = _Came()
        refused: dict[str, list[tuple[int, str, str, Failed]]] = {place.name: [] for place in places}
        totals: Counter[tuple[str, str]] = Counter()
        with ExitStack() as stack:
            writers = {place.name: stack.enter_context(place.batch(self.facts, number)) for place in places}
            for rows in self._pieces(number):
                good = came.take(rows, facts=self.facts)
                for name, writer in writers.items():
                    written = writer.write([row.prediction for row in good])
                    refused[name] += _refusals(good, written, place=name)
                    _add(totals, name, written)
            for name, writer in writers.items():
                _add(totals, name, writer.close())
        made = Outcome(worker=f"{socket.gethostname()}:{os.getpid()}", began=began, ended=self._clock.now())
        for name in writers:
            self.cursor.mark(self.facts.job, name, number, _outcome(made, name, totals, refused[name], came.stored))
        self.cursor.mark(self.facts.job, ITSELF, number, came.outcome(made))

    def close(self) -> None:
        """Let go of connections."""
        for place in self.places:
            place.close()
        self.table.close()

    def _pieces(self, number: int) -> Iterator[list[PublishRow]]:
        """The rows of a batch, as many at a time as fit into memory."""
        most = max(1, min(_ROWS, _CELLS // max(1, len(self.facts.release.columns))))
        rows = iter(self.batches.rows(number))
        while piece := list(islice(rows, most)):
            yield piece


class _Came:
    """What the rows of a batch came to."""

    def __init__(self) -> None:
        self.stored = 0
        self._failed: list[tuple[int, str, str, Failed]] = []
        self._late = 0
        self._nulls: Counter[str] = Counter()

    def take(self, rows: Sequence[PublishRow], *, facts: Facts) -> list[PublishRow]:
        """The rows that hold values, as they may be published."""
        good: list[PublishRow] = []
        for row in rows:
            told = settled(row.prediction, scheme=facts.scheme, strict=facts.strict)
            if told.failed is not None:
                self._failed.append((row.row, told.key, told.smiles, told.failed))
                self._late += row.prediction.failed is None
                continue
            if told.values is not None:
                good.append(structs.replace(row, prediction=_signed(told, facts.job)))
                if None in told.values:
                    names = zip(facts.release.columns, told.values, strict=False)
                    self._nulls.update(column.name for column, value in names if value is None)
        self.stored += len(good)
        return good

    def outcome(self, made: Outcome) -> Outcome:
        """What is noted of the batch itself; ``refused`` are those that were taken for stored until here."""
        reasons = Counter(failed.reason for *_, failed in self._failed)
        return structs.replace(
            made,
            rows=self.stored + len(self._failed),
            new=self.stored,
            refused=self._late,
            states=dict(reasons),
            nulls=dict(self._nulls),
            aside=aside_lines(self._failed),
        )


def _signed(prediction: Prediction, job: str) -> Prediction:
    return prediction if prediction.job else structs.replace(prediction, job=job)


def _add(totals: Counter[tuple[str, str]], name: str, written: Written) -> None:
    totals[name, "new"] += written.new
    totals[name, "changed"] += written.changed
    totals[name, "same"] += written.same


def _refusals(rows: Sequence[PublishRow], written: Written, *, place: str) -> list[tuple[int, str, str, Failed]]:
    """Lines for the rows that a place could not hold."""
    if not written.refused:
        return []
    return [
        (row.row, row.prediction.key, row.prediction.smiles, structs.replace(why, message=f"{why.message} ({place})"))
        for row in rows
        if (why := written.refused.get(row.prediction.key)) is not None
    ]


def _outcome(
    made: Outcome,
    name: str,
    totals: Counter[tuple[str, str]],
    refused: list[tuple[int, str, str, Failed]],
    rows: int,
) -> Outcome:
    return structs.replace(
        made,
        rows=rows,
        new=totals[name, "new"],
        changed=totals[name, "changed"],
        same=totals[name, "same"],
        refused=len(refused),
        states=dict(Counter(failed.reason for *_, failed in refused)),
        aside=aside_lines(refused),
    )
