"""Conditions on filter values: checked against the mapping, and made comparisons of what is stored."""

import math
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from limner.domain.reads import Comparison, Condition
from limner.errors import UsageError
from limner.search.base import Comparable
from limner.search.mapping import FilterKind, Mapping

#: How a value is held: numbers come before words, and words before flags, which are bytes, so that true is never
#: equal to 1.
Stored: TypeAlias = str | int | float | bytes

#: What comes after every number, and what after every word.
_FIRST_WORD, _FIRST_FLAG = "", b""

#: Values in one list of a condition; older builds of SQLite take no more parameters.
MOST_VALUES = 30_000
_OPPOSITES = {Comparison.NOT_EQUAL: Comparison.EQUAL, Comparison.NOT_IN: Comparison.IN}
_ORDERED = {Comparison.LESS: "<", Comparison.AT_MOST: "<=", Comparison.MORE: ">", Comparison.AT_LEAST: ">="}
_TRUE, _FALSE = b"\x01", b"\x00"
_LARGEST = 2**63 - 1
#: Whole numbers up to this one are exact in double precision.
EXACT = 2**53


class Predicate(Struct, frozen=True, kw_only=True):
    """A condition on the values of one path; a document keeps it if one of its values does."""

    path: str
    #: Signs and what they compare with; one value keeps all of them. None of them: any value keeps it.
    tests: tuple[tuple[str, Stored], ...] = ()
    #: Of which one is equal, where it is a list of values; then there are no tests.
    one_of: tuple[Stored, ...] | None = None
    #: Where it is a range of numbers, its sign (``>=``) and its end.
    bound: tuple[str, float] | None = None
    #: The documents wanted are those that do not keep it, those without any value included.
    negated: bool = False


def predicate_of(condition: Condition, *, mapping: Mapping) -> Predicate:
    """
    *condition* as comparisons of stored values.

    Equal, less and more hold where one of the document's values keeps them; ``!=`` and ``not in`` where none of its
    values is equal, so also where it has none; ``exists`` with the value False where it has none.

    Raises:
        UsageError: the mapping has no such filter, or its values cannot be compared so.
    """
    kind = kind_at(condition.path, mapping=mapping)
    compare = condition.compare
    positive = _OPPOSITES.get(compare, compare)
    negated = positive is not compare
    if positive is Comparison.EXISTS:
        return Predicate(path=condition.path, negated=condition.value is False)
    if positive is Comparison.MATCHES:
        raise UsageError(f"{condition.path}: an index does not search by regular expression; compare with == or in.")
    if positive is Comparison.IN:
        values = condition.value if isinstance(condition.value, list | tuple) else [condition.value]
        if len(values) > MOST_VALUES:
            raise UsageError(f"{condition.path} is compared with {len(values)} values; at most {MOST_VALUES} can be.")
        wanted = tuple(stored(value, path=condition.path, kind=kind) for value in values)
        return Predicate(path=condition.path, one_of=wanted, negated=negated)
    value = stored(condition.value, path=condition.path, kind=kind)
    if positive is Comparison.EQUAL:
        return Predicate(path=condition.path, tests=(("=", value),), negated=negated)
    if isinstance(value, bytes):
        raise UsageError(f"{condition.path} is true or false, which is neither more nor less; compare with ==.")
    # A range stays among the values of its own kind.
    same: tuple[tuple[str, Stored], ...] = (("<", _FIRST_WORD),)
    if isinstance(value, str):
        same = ((">=", _FIRST_WORD), ("<", _FIRST_FLAG))
    sign = _ORDERED[positive]
    bound = None if isinstance(value, str) or abs(value) > EXACT else (sign, float(value))
    return Predicate(path=condition.path, tests=((sign, value), *same), bound=bound)


def kind_at(path: str, *, mapping: Mapping) -> FilterKind:
    """
    The kind of the filter at *path*.

    Raises:
        UsageError: the mapping has no such filter.
    """
    try:
        return mapping.filters[path]
    except KeyError:
        known = ", ".join(sorted(mapping.filters)) or "there is none"
        raise UsageError(f"{path} is no filter of this index; known are: {known}") from None


def stored(value: object, *, path: str, kind: FilterKind) -> Stored:
    """
    *value* as an index holds it.

    Raises:
        UsageError: a value at *path* is of another kind.
    """
    value = value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
    match value:
        case bool() if kind in (FilterKind.FLAG, FilterKind.ANY):
            return _TRUE if value else _FALSE
        case str() if kind in (FilterKind.WORD, FilterKind.ANY):
            return value
        case int() | float() if kind in (FilterKind.NUMBER, FilterKind.ANY) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value) if abs(value) > _LARGEST else value
    raise UsageError(f"{path} holds {_WHAT[kind]}; {value!r} is none.")


def restored(value: Stored) -> Comparable:
    """What :func:`stored` made *value* from."""
    return value == _TRUE if isinstance(value, bytes) else value


def values_of(value: Comparable | Sequence[Comparable]) -> Sequence[Comparable]:
    """The one or several values of a filter."""
    return [value] if isinstance(value, str | int | float) or not isinstance(value, Sequence) else value


def typed(text: str, *, path: str, mapping: Mapping) -> Comparable:
    """
    The value that somebody who typed *text* for *path* means: by the declared kind, else by what it looks like.

    Raises:
        UsageError: the mapping has no such filter, or *text* is no value of its kind.
    """
    kind = kind_at(path, mapping=mapping)
    flag = {"true": True, "false": False}.get(text.lower())
    if kind is FilterKind.WORD:
        return text
    if kind is not FilterKind.NUMBER and flag is not None:
        return flag
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if kind is not FilterKind.FLAG and math.isfinite(number):
        return int(number) if number.is_integer() and "e" not in text.lower() else number
    if kind is FilterKind.ANY:
        return text
    raise UsageError(f"{path} holds {_WHAT[kind]}; {text!r} is none.")


_WHAT = {
    FilterKind.WORD: "words",
    FilterKind.NUMBER: "finite numbers",
    FilterKind.FLAG: "true or false",
    FilterKind.ANY: "words, finite numbers or flags",
}
