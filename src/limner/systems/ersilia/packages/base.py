"""The nouns of a model package: what it is, what it needs and costs, and its golden example; plain, as workers are."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from msgspec import Struct, field

from limner.systems.ersilia.columns import Column

#: The sizes for which a package says how long it takes, in inputs.
SIZES = (1, 10, 100, 1_000, 10_000)
#: Inputs of one call where a package says of no size how long it takes.
_UNKNOWN_BATCH = 1_000
_LEAST_LIMIT = timedelta(seconds=60)
#: A model with more columns answers with rows of a Parquet file.
NARROW = 64


class Performance(Struct, frozen=True, kw_only=True):
    """How long a package took where its author ran it."""

    #: Seconds for each of SIZES; None where it was not said, or failed.
    seconds: tuple[float | None, ...] = (None,) * len(SIZES)

    @property
    def batch(self) -> int:
        """Inputs of one call at most: the largest size that went well."""
        return max((size for size, seconds in self._known()), default=_UNKNOWN_BATCH)

    @property
    def start_up(self) -> float:
        """Seconds of a call before its first input, as the figure for 100 inputs says; 0 where nothing is known."""
        hundred = self.seconds[2]
        if hundred is not None:
            return hundred
        return next((seconds for _, seconds in self._known()), 0.0)

    @property
    def per_row(self) -> float:
        """Seconds for each input, from the two largest sizes that went well; 0 where they are not known."""
        known = self._known()
        if len(known) < 2:
            return 0.0
        (smaller, before), (larger, after) = known[-2:]
        return max(0.0, (after - before) / (larger - smaller))

    @property
    def limit(self) -> timedelta:
        """The time limit of one call: five times what a full batch should take, and a minute at least."""
        return max(_LEAST_LIMIT, 5 * self.estimate(self.batch))

    def estimate(self, rows: int, *, calls: int = 1) -> timedelta:
        """How long so many inputs should take in so many calls, one after another."""
        return timedelta(seconds=calls * self.start_up + rows * self.per_row)

    def _known(self) -> list[tuple[int, float]]:
        return [(size, seconds) for size, seconds in zip(SIZES, self.seconds, strict=True) if seconds is not None]


class Needs(Struct, frozen=True, kw_only=True):
    """The environment that a package was made in."""

    #: Python's minor version, ``3.10``; None where the package does not say.
    python: str | None = None
    #: Versions of packages by name; empty where any will do.
    pins: Mapping[str, str] = field(default_factory=dict)


class Golden(Struct, frozen=True, kw_only=True):
    """A package's own example: what it answered at home."""

    smiles: tuple[str, ...]
    header: tuple[str, ...]
    #: As the file writes them; an empty cell is no value.
    rows: tuple[tuple[str, ...], ...]


class Package(Struct, frozen=True, kw_only=True):
    """One model package as its folder says."""

    #: ``eos3b5e``.
    id: str
    folder: Path
    #: Where ``run.sh`` and what belongs to it lie.
    framework: Path
    #: ``v1.0.0``; ``v0.0.0`` where the package names none.
    release: str
    columns: tuple[Column, ...]
    slug: str = ""
    title: str = ""
    task: str = ""
    outputs: tuple[str, ...] = ()
    #: ``Fixed``: the same input always has the same output; or ``Variable``.
    consistency: str = "Fixed"
    licence: str | None = None
    performance: Performance = field(default_factory=Performance)
    needs: Needs = field(default_factory=Needs)
    golden: Golden | None = None
    #: ``code/model.py:predict`` below the framework: a function that answers without a process of its own.
    in_process: str | None = None
    #: ``http://models.example:8080``: the server that runs it, in place of a command or a function.
    served: str | None = None
    #: A sentence each, of what the package should say and does not.
    warnings: tuple[str, ...] = ()

    @property
    def run(self) -> Path | None:
        """Its command; None where only its description is here."""
        found = self.framework / "run.sh"
        return found if found.is_file() else None

    @property
    def wide(self) -> bool:
        """Whether its values are kept in Parquet files, beside the results."""
        return len(self.columns) > NARROW

    @property
    def digest(self) -> str:
        """SHA-256 of the packed folder, hexadecimal: read anew each time that it is asked for."""
        from limner.systems.ersilia.packages.archive import digest_of

        return digest_of(self.folder)


class PackageWrong(Exception):
    """A package cannot be read or run; the sentence names the file and what is wrong with it."""


class OutputRefused(Exception):
    """What a package answered cannot be taken: a whole call, or one row of it."""

    def __init__(self, reason: str, told: str, *, code: str = "OUTPUT_INVALID") -> None:
        super().__init__(f"{reason}: {told}")
        #: One of the platform's failure codes.
        self.code = code
        #: The system's own word for it.
        self.reason = reason
