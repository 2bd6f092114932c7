"""Declared outputs: what a stage answers with, checked before anything is stored, and the search mapping."""

import math
import re
from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from limner.domain.values import Value, finite

MEGABYTE = 1_000_000


class Output(Struct, frozen=True, kw_only=True, tag=True):
    """Base of the declared outputs; *optional* ones may be absent or None."""

    optional: bool = False

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence; None where it keeps the declaration."""
        return None


class Number(Output, frozen=True, kw_only=True):
    """A finite number."""

    #: Smallest and largest legal value, themselves included.
    least: float | None = None
    most: float | None = None
    #: The value must be larger than this, itself excluded.
    above: float | None = None
    #: Only whole numbers.
    whole: bool = False

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        if getattr(value, "ndim", None) == 0:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"is a {type(value).__name__} and not a number"
        if not math.isfinite(value):
            return f"is {value}, which is no finite number"
        if self.whole and value != int(value):
            return f"is {value} and not a whole number"
        if self.above is not None and not value > self.above:
            return f"is {value} and not above {self.above}"
        if self.least is not None and value < self.least:
            return f"is {value}, below {self.least}"
        return f"is {value}, above {self.most}" if self.most is not None and value > self.most else None


class Text(Output, frozen=True, kw_only=True):
    """A string; searched as words when the pipeline's index lists it as text, else compared whole."""

    #: A regular expression that the whole string must match.
    pattern: str | None = None

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        if not isinstance(value, str):
            return f"is a {type(value).__name__} and not text"
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"is {value!r}, which does not match {self.pattern}"
        return None


class Flag(Output, frozen=True, kw_only=True):
    """True or false."""

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        return None if isinstance(value, bool) else f"is a {type(value).__name__} and neither true nor false"


class Strings(Output, frozen=True, kw_only=True):
    """A list of strings."""

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return None if right else "is not a list of strings"


class Bytes(Output, frozen=True, kw_only=True):
    """A short byte string, of exactly *length* bytes where it is given."""

    length: int | None = None

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        if not isinstance(value, bytes):
            return f"is a {type(value).__name__} and not bytes"
        if self.length is not None and len(value) != self.length:
            return f"has {len(value)} bytes and not {self.length}"
        return None


class Vector(Output, frozen=True, kw_only=True):
    """A one-dimensional array of finite float32 numbers."""

    #: Numbers in it; None takes whatever the first value of a version has.
    length: int | None = None
    #: Its Euclidean norm must be 1 to within 1e-3.
    unit: bool = False

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        try:
            import numpy as np
        except ImportError:
            return "is a vector, for which NumPy is needed"
        vector = np.asarray(value)
        if vector.ndim != 1 or not np.issubdtype(vector.dtype, np.number):
            return f"has shape {vector.shape} and type {vector.dtype}; a vector of numbers was declared"
        if self.length is not None and len(vector) != self.length:
            return f"has {len(vector)} numbers and not {self.length}"
        if not np.isfinite(vector).all():
            return "holds a number that is not finite"
        if not self.unit:
            return None
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return None if abs(norm - 1.0) <= 1e-3 else f"has length {norm:.4g}; a unit vector was declared"


class Anything(Output, frozen=True, kw_only=True):
    """Any storable value without infinite numbers; shown and exported, not searched."""

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, as the end of a sentence."""
        return None if finite(value) else "holds a number that is not finite"


class Artifact(Output, frozen=True, kw_only=True):
    """
    A file that the inferrer made: it answers with bytes, a ``Path`` that it wrote, or a NumPy array (kept as .npy).

    The bytes stand in the artifacts; the value holds their reference, ``{"sha256", "bytes", "kind"}``.
    """

    #: Media type, such as ``image/jpeg``; told to whoever fetches the file.
    kind: str = "application/octet-stream"
    #: A larger file is refused.
    max_bytes: int = 100 * MEGABYTE
    #: Records of one call may name the same ``Path``; another output then says which part of it is whose.
    shared: bool = False

    def problem(self, value: Value) -> str | None:
        """What is wrong with *value*, a reference, as the end of a sentence."""
        if _is_reference(value):
            return None
        return f"is a {type(value).__name__} and no file; answer with bytes, a Path or a NumPy array"


AnyOutput: TypeAlias = Number | Text | Flag | Strings | Bytes | Vector | Anything | Artifact


def problem_of(value: Value, *, outputs: dict[str, AnyOutput]) -> str | None:
    """
    What is wrong with a stage's whole *value*, as a sentence; None where it keeps every declaration.

    Without declared outputs only numbers that are not finite are refused.
    """
    if not outputs:
        return None if finite(value) else "The output holds a number that is not finite."
    if not isinstance(value, dict):
        return f"The output is a {type(value).__name__}; a dictionary with {', '.join(outputs)} was declared."
    unknown = [name for name in value if name not in outputs]
    if unknown:
        return f"The output names {', '.join(map(str, unknown))}, which the stage does not declare."
    for name, output in outputs.items():
        item = value.get(name)
        if item is None:
            if output.optional:
                continue
            return f"The output lacks {name}, which the stage declares."
        found = output.problem(item)
        if found:
            return f"{name} {found}."
    return None


def files_in(value: Value, *, outputs: Mapping[str, AnyOutput]) -> list[str]:
    """The SHA-256 of every artifact that a stage's stored *value* refers to."""
    names = [name for name, output in outputs.items() if isinstance(output, Artifact)]
    found: list[Value] = [value.get(name) for name in names] if isinstance(value, dict) else []
    return [item["sha256"] for item in found if _is_reference(item)]


def _is_reference(value: Value) -> bool:
    """Whether *value* refers to an artifact."""
    if not isinstance(value, dict) or set(value) != {"sha256", "bytes", "kind"}:
        return False
    sha256, size, kind = value["sha256"], value["bytes"], value["kind"]
    right = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
    return bool(right) and isinstance(size, int) and size >= 0 and isinstance(kind, str)
