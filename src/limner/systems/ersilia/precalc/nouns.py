"""The nouns of a precalculation: what is asked, which job it is, what became of every row, and how it ended."""

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct, field

from limner.systems.ersilia.library.index import Library
from limner.systems.ersilia.nouns import KeyScheme, Prediction, Release

#: Under this name a job's detail holds its :class:`PrecalcJob`.
DETAIL = "precalc"


class Ask(Struct, frozen=True, kw_only=True):
    """What a precalculation is asked to do."""

    #: Model id: ``eos3b5e``.
    model: str
    #: Path or address of the library.
    library: str
    #: Only its first rows, or the subset file of that many rows beside it; None: all of it.
    sample: int | None = None
    #: Processes of inference at most, and of publishing.
    workers: int = 50
    #: Scheme of the keys; None: that of the library's keys, InChIKeys where it has none.
    keys: KeyScheme | None = None
    #: Where predictions go besides the prediction table: folders, ``s3://`` and ``dynamodb://`` addresses.
    to: tuple[str, ...] = ()
    #: A molecule without a value in one column fails, in place of being stored with what there is.
    strict: bool = False
    #: Limit on one call of the model; None: five times its estimate, at least a minute.
    shard_timeout: timedelta | None = None
    #: Try a hundred molecules before all others.
    canary: bool = True
    #: Use a package that does not reproduce its golden example, and say so in every prediction.
    unchecked: bool = False
    #: Only ``predict`` or only ``publish``; None: both.
    only: str | None = None


class PrecalcJob(Struct, frozen=True, kw_only=True):
    """What a job of the engine is to a precalculation; stands in the job's detail under :data:`DETAIL`."""

    #: ``identify``, ``canary`` or ``predict``; the one that predicts names files, and is the one that counts.
    step: str
    #: What was asked, as a digest: a command that was stopped goes on with the job that has its own.
    asked: str
    library: Library
    #: SHA-256 of the library's index among the artifacts.
    index: str
    scheme: KeyScheme
    #: None where nothing is predicted.
    release: Release | None = None
    #: Version of the code that runs packages, as it stands in the engine's version.
    code: str = ""
    workers: int = 0
    workers_used: int = 0
    #: Sizes of its shards.
    shards: list[int] = field(default_factory=list)
    #: SHA-256 of the fates of all rows among the artifacts, once the job has ended.
    fates: str | None = None
    #: Rows by what became of them, once the job has ended; see :class:`Counts`.
    counts: "Counts | None" = None
    #: Seconds from its beginning to the end of publishing.
    seconds: float | None = None
    cost: "Cost | None" = None
    #: Everything was published.
    published: bool = False
    #: What the places are called that it was published to, the prediction table first.
    places: list[str] = field(default_factory=list)
    #: How many stored rows have no value in a column, by column.
    nulls: Mapping[str, int] = field(default_factory=dict)


class Cost(Struct, frozen=True, kw_only=True):
    """What the model's answers cost that a job asked for; the canary is a job of its own."""

    #: Molecules that were predicted for it; what was current already costs nothing.
    predicted: int
    #: Seconds in which workers predicted, those of all of them added up.
    seconds: float


class Counts(Struct, frozen=True, kw_only=True):
    """Rows of a library by what became of them: ``rows`` is the sum of all others but ``blank_lines``."""

    rows: int
    stored: int
    failed: int
    skipped: int
    cancelled: int
    duplicate_row: int
    duplicate_key: int
    blank_lines: int
    #: Of those that failed or repeat: how many, by reason.
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every row is exactly one of these."""
        return self.rows == sum(
            (self.stored, self.failed, self.skipped, self.cancelled, self.duplicate_row, self.duplicate_key)
        )


class PublishRow(Struct, frozen=True, kw_only=True):
    """One row of a library with what is to be published of it."""

    row: int
    #: Its key is empty where none is known; it holds values, or why there are none.
    prediction: Prediction


class Facts(Struct, frozen=True, kw_only=True):
    """What everything that is published is told of the job."""

    job: str
    release: Release
    scheme: KeyScheme
    library: Library
    #: When the job began, in seconds since the epoch.
    started: float
    workers: int
    shards: list[int]
    counts: Counts
    #: Version of the code that runs packages; empty where the predictions were made elsewhere.
    code: str = ""
    #: None where nobody knows it.
    cost: Cost | None = None
    #: A row without a value in one column fails.
    strict: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    """How a precalculation ended."""

    job: str
    model: str
    #: Release and digest: ``v1.0.0+1a2b3c4d``.
    version: str
    environment: str
    key_scheme: KeyScheme
    library: Library
    #: ``done``, ``done_with_failures``, ``failed`` or ``stopped`` (by its canary).
    state: str
    counts: Counts
    #: Outputs of the model that were computed.
    inferred: int
    workers: int
    workers_used: int
    shards: int
    seconds: float
    #: Of the model alone.
    cost: Cost | None = None
    #: Where predictions were written to.
    published: list[str] = field(default_factory=list)
    #: How many stored rows have no value in a column, by column.
    nulls: Mapping[str, int] = field(default_factory=dict)
    #: Row number and reason of the first rows that failed or repeat, repeats with the row that they repeat.
    by_row: Mapping[int, str] = field(default_factory=dict)
    #: Why it stopped, where it did.
    stopped: str | None = None
