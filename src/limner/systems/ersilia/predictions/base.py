"""The contract of a prediction table: predictions by model, version and key."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release


class Shelf(Struct, frozen=True, kw_only=True):
    """What a table knows of one version of a model."""

    release: Release
    #: Whether the job that fills it has ended.
    complete: bool
    #: When a prediction of it was last written, in seconds since the epoch; 0 before the first.
    updated: float


class Written(Struct, frozen=True, kw_only=True):
    """What a write came to, in keys."""

    new: int = 0
    changed: int = 0
    same: int = 0
    #: What the table cannot hold, by key, and why; all others were written.
    refused: Mapping[str, Failed] = field(default_factory=dict)


class PredictionTable(ABC):
    """
    Predictions by (model, version, key), all of one key scheme; may be used by several processes at once.

    What is written again replaces what was there. Every method may raise ``StoreUnavailable``.
    """

    @abstractmethod
    def describe(self) -> str:
        """What it is, for a person: kind and place, without secrets."""

    @abstractmethod
    def scheme(self) -> KeyScheme | None:
        """The scheme of its keys; None while it is empty."""

    @abstractmethod
    def begin(self, release: Release, *, scheme: KeyScheme) -> None:
        """
        Make ready for predictions of a version, which counts as incomplete from now on.

        Raises:
            UsageError: the table holds keys of another scheme.
        """

    @abstractmethod
    def write(self, release: Release, predictions: Sequence[Prediction]) -> Written:
        """
        Store predictions; a key that stands twice among them counts once, the first one wins.

        One that the table cannot hold (a key of another scheme, NaN, an infinity, another number of values than the
        release has columns) is told in ``refused``, and costs no other.

        Raises:
            UsageError: the version was not begun.
        """

    @abstractmethod
    def complete(self, release: Release) -> None:
        """Note that the version is complete."""

    @abstractmethod
    def read(self, model: str, version: str, keys: Sequence[str]) -> dict[str, Prediction]:
        """The predictions of *keys*, by key; those that are not there are absent. Any number of keys, repeats too."""

    @abstractmethod
    def count(self, model: str, version: str) -> int:
        """How many keys have a prediction of this version, failures left out."""

    @abstractmethod
    def shelves(self, model: str | None = None) -> list[Shelf]:
        """The versions of a model, or of all models, in the order in which they were begun."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
