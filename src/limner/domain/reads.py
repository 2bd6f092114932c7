"""Reads and conditions: what a stage is given, how a file is fetched and decoded, and when a record is skipped."""

import re
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from limner.domain.values import Value
from limner.errors import ConfigurationError

MEGABYTE = 1_000_000


class FileRead(Struct, frozen=True, kw_only=True):
    """How the file that a field names is fetched and decoded; all of it is part of the input digest."""

    #: Turn pictures upright by their EXIF orientation; False hands them over as stored.
    upright: bool = True
    #: Stop reading beyond this many bytes.
    max_bytes: int = 50 * MEGABYTE
    #: Refuse pictures of more pixels, by their header.
    max_pixels: int = 100 * MEGABYTE
    #: Pixels that the shorter side needs; lets a JPEG be decoded at a fraction of its size. None decodes it whole.
    at_least: int | None = None
    #: Field that holds the file's SHA-256, if the source knows it.
    checksum: str | None = None
    #: Names a resolver of addresses that a system registers (``iiif``).
    resolver: str | None = None


class Read(Struct, frozen=True, kw_only=True):
    """One input of a stage: a path, and for files how they are read."""

    #: ``field``, ``stage.field``, ``parent.field`` or ``parent.stage.field``; dots reach into nested values.
    path: str
    file: FileRead | None = None
    #: Hand over None where the value is absent, skipped or failed, instead of skipping the record.
    optional: bool = False
    #: Reason of the skip where the value is absent; ``no_<path>`` if not given.
    absent: str | None = None

    @property
    def absent_reason(self) -> str:
        """Why a record without this value is skipped."""
        return self.absent or "no_" + self.path.replace(".", "_")


def file(
    path: str,
    *,
    upright: bool = True,
    max_bytes: int = 50 * MEGABYTE,
    max_pixels: int = 100 * MEGABYTE,
    at_least: int | None = None,
    checksum: str | None = None,
    resolver: str | None = None,
    absent: str | None = None,
) -> Read:
    """The file whose address stands in the field *path*; the options are those of :class:`FileRead`."""
    options = FileRead(
        upright=upright,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        at_least=at_least,
        checksum=checksum,
        resolver=resolver,
    )
    return Read(path=path, file=options, absent=absent)


def optional(path: str) -> Read:
    """A value that may be absent, skipped or failed: the inferrer is then given None."""
    return Read(path=path, optional=True)


class Comparison(StrEnum):
    """How a condition compares."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    IN = "in"
    NOT_IN = "not in"
    MATCHES = "matches"
    EXISTS = "exists"


class Condition(Struct, frozen=True, kw_only=True):
    """A declared comparison; a record for which it does not hold is skipped with the reason."""

    path: str
    compare: Comparison
    #: What the value is compared with; a list for ``in``, a regular expression for ``matches``.
    value: str | float | bool | list[str] | list[float] | None = None
    reason: str = "condition"


def where(path: str, compare: str, value: object = None, *, reason: str = "condition") -> Condition:
    """The condition that the value at *path* compares so with *value*: ``where("moths.score", ">=", 0.5)``."""
    try:
        comparison = Comparison(compare)
    except ValueError:
        known = ", ".join(Comparison)
        raise ConfigurationError(f"{compare!r} is no comparison; known are: {known}") from None
    return Condition(path=path, compare=comparison, value=value, reason=reason)  # type: ignore[arg-type]  # checked by msgspec when the pipeline is made


def holds(condition: Condition, value: Value) -> bool:
    """Whether *condition* is true of *value*; an absent value fulfils only ``!=``, ``not in`` and ``exists False``."""
    compare, wanted = condition.compare, condition.value
    if compare is Comparison.EXISTS:
        return (value is not None) is (wanted is not False)
    if compare is Comparison.EQUAL:
        return bool(value == wanted)
    if compare is Comparison.NOT_EQUAL:
        return bool(value != wanted)
    if compare is Comparison.IN:
        return value in _list(wanted)
    if compare is Comparison.NOT_IN:
        return value not in _list(wanted)
    if compare is Comparison.MATCHES:
        return isinstance(value, str) and re.search(str(wanted), value) is not None
    return _ordered(compare, value, wanted)


def _ordered(compare: Comparison, value: Value, wanted: Value) -> bool:
    """Less or more; false where the two cannot be ordered."""
    try:
        return bool(
            (compare is Comparison.LESS and value < wanted)
            or (compare is Comparison.AT_MOST and value <= wanted)
            or (compare is Comparison.MORE and value > wanted)
            or (compare is Comparison.AT_LEAST and value >= wanted)
        )
    except TypeError:
        return False


def _list(value: Value) -> Sequence[Value]:
    return value if isinstance(value, list) else [value]
