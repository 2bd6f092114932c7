"""The contract of a place where a job's predictions go, batch by batch: a prediction table, a folder, a bucket."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.precalc.nouns import Facts, PublishRow
from limner.systems.ersilia.predictions.base import Written


class Batches(Protocol):
    """The rows of a job, cut into batches that are the same whenever they are asked for."""

    def __len__(self) -> int:
        """How many batches there are."""
        ...

    def rows(self, number: int) -> Iterator[PublishRow]:
        """
        The rows of one batch, counted from 0, in the order of the library: all but repeats.

        A row holds values or a failure; of those with values no two in all batches have the same key.
        """
        ...


class OpenBatches(Protocol):
    """Opens the batches in the process that reads them; it is pickled on the way there."""

    def __call__(self) -> Batches:
        """The batches."""
        ...


class BatchWriter(Protocol):
    """Takes one batch, piece by piece."""

    def write(self, predictions: Sequence[Prediction]) -> Written:
        """Take some rows with values, in their order."""
        ...

    def close(self) -> Written:
        """Make all of it lasting; returns what only now is known."""
        ...


class Place(ABC):
    """
    Takes the batches of a job, each of which may come several times and from several processes at once.

    Every method may raise ``StoreUnavailable`` or ``ArtifactsUnavailable``; trying again is safe.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called where it is noted which batches it has; holds no secret, and is the same next time."""

    @abstractmethod
    def begin(self, facts: Facts, *, batches: int) -> None:
        """
        Make ready for a job of so many batches; called once before them all, and again where it goes on.

        Raises:
            UsageError: the place cannot take it, for example by its scheme of keys.
        """

    @abstractmethod
    def batch(self, facts: Facts, number: int) -> AbstractContextManager[BatchWriter]:
        """Take one batch, counted from 0; of a block that ends by an error nothing half-written is left behind."""

    @abstractmethod
    def end(self, facts: Facts, *, failures: Iterable[Sequence[Prediction]]) -> None:
        """
        Settle what is left to settle when all batches are there; doing it again is safe.

        *failures*, page by page, say of keys why they have no value; some may have one by another spelling.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
