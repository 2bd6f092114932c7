"""A prediction table in memory, for tests that are about doors and not about tables."""

from collections.abc import Sequence

from msgspec import structs

from limner.errors import StoreUnavailable, UsageError
from limner.systems.ersilia.nouns import KeyScheme, Prediction, Release
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf, Written


class MemoryTable(PredictionTable):
    """Predictions in dictionaries; counts what was read, and can be put out of reach."""

    def __init__(self) -> None:
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._held: dict[tuple[str, str], dict[str, Prediction]] = {}
        self._scheme: KeyScheme | None = None
        #: Whether it can be reached.
        self.away = False
        #: Keys of every read.
        self.reads: list[list[str]] = []

    def describe(self) -> str:
        """What it is."""
        return "memory"

    def scheme(self) -> KeyScheme | None:
        """The scheme of its keys."""
        return self._scheme

    def begin(self, release: Release, *, scheme: KeyScheme) -> None:
        """Make ready for a version."""
        if self._scheme not in (None, scheme):
            raise UsageError(f"This table holds {self._scheme} keys.")
        self._scheme = scheme
        self._shelves[release.model, release.version] = Shelf(release=release, complete=False, updated=0.0)

    def write(self, release: Release, predictions: Sequence[Prediction]) -> Written:
        """Store predictions; the first of a key wins."""
        held = self._held.setdefault((release.model, release.version), {})
        given = {one.key: one for one in reversed(predictions)}
        new = len(given.keys() - held.keys())
        held.update(given)
        return Written(new=new, changed=len(given) - new)

    def complete(self, release: Release) -> None:
        """Note that a version is complete."""
        place = (release.model, release.version)
        self._shelves[place] = structs.replace(self._shelves[place], complete=True)

    def read(self, model: str, version: str, keys: Sequence[str]) -> dict[str, Prediction]:
        """The predictions of keys."""
        if self.away:
            raise StoreUnavailable("The memory of this test is out of reach.")
        self.reads.append(list(keys))
        held = self._held.get((model, version), {})
        return {key: held[key] for key in keys if key in held}

    def count(self, model: str, version: str) -> int:
        """How many keys have a prediction."""
        return sum(one.values is not None for one in self._held.get((model, version), {}).values())

    def shelves(self, model: str | None = None) -> list[Shelf]:
        """The versions."""
        if self.away:
            raise StoreUnavailable("The memory of this test is out of reach.")
        return [shelf for shelf in self._shelves.values() if model in (None, shelf.release.model)]

    def close(self) -> None:
        """Nothing is to let go of."""
