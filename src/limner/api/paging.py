"""Pages: a cursor that means nothing to a client, and leads to the next page."""

import base64
import binascii
from typing import Generic, TypeVar

import msgspec
from pydantic import BaseModel, Field

from limner.errors import UsageError

T = TypeVar("T")
C = TypeVar("C")

#: Items in one page at most, and where nothing is asked for.
MOST, USUAL = 1000, 100


class Page(BaseModel, Generic[T]):
    """Some of many items."""

    items: list[T]
    next: str | None = Field(default=None, description="Cursor of the next page; null on the last one.")


def cursor(place: object) -> str:
    """*place*, where a page ended, as a cursor."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def place(given: str | None, kind: type[C], *, start: C) -> C:
    """
    The place that a cursor names; *start* where none was given.

    Raises:
        UsageError: it is no cursor of this listing.
    """
    if not given:
        return start
    try:
        data = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
        found = msgspec.msgpack.decode(data, type=kind)
        if not _sound(found):
            raise ValueError("a number of it lies beyond what a store counts")
        return found
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise UsageError(f"after: {given[:40]!r} is no cursor of this listing; leave it out to begin again.") from error


def _sound(found: object) -> bool:
    """Whether every number of a place is one that a database takes."""
    parts = found if isinstance(found, tuple) else (found,)
    return all(abs(part) < 2**62 for part in parts if isinstance(part, int | float))
