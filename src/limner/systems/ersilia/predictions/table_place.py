"""A prediction table as a place where a job's predictions go."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from limner.systems.ersilia.nouns import Prediction, Release
from limner.systems.ersilia.precalc.nouns import Facts
from limner.systems.ersilia.predictions.base import PredictionTable, Written
from limner.systems.ersilia.predictions.places import BatchWriter, Place


class TablePlace(Place):
    """Writes by key, so that a batch that comes again changes nothing."""

    def __init__(self, table: PredictionTable) -> None:
        #: The table itself.
        self.table = table

    @property
    def name(self) -> str:
        """What the table calls itself."""
        return self.table.describe()

    def begin(self, facts: Facts, *, batches: int) -> None:
        """Begin the version."""
        self.table.begin(facts.release, scheme=facts.scheme)

    @contextmanager
    def batch(self, facts: Facts, number: int) -> Iterator[BatchWriter]:
        """Hand the rows on as they come."""
        yield _Rows(self.table, facts.release)

    def end(self, facts: Facts, *, failures: Iterable[Sequence[Prediction]]) -> None:
        """Write the failures of keys without a value, and note the version as complete."""
        release = facts.release
        for page in failures:
            held = self.table.read(release.model, release.version, [one.key for one in page])
            told = [one for one in page if one.key not in held or held[one.key].values is None]
            if told:
                self.table.write(release, told)
        self.table.complete(release)

    def close(self) -> None:
        """Let go of connections."""
        self.table.close()


class _Rows:
    def __init__(self, table: PredictionTable, release: Release) -> None:
        self._table = table
        self._release = release

    def write(self, predictions: Sequence[Prediction]) -> Written:
        """Write them at once."""
        return self._table.write(self._release, predictions)

    def close(self) -> Written:
        """Nothing is left to do."""
        return Written()
