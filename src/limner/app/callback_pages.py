"""Pages of a callback: as many records in each as fit below a size; nothing is ever cut."""

import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
import structlog
from msgspec import Struct

from limner.app import callback_body
from limner.app.callback_body import Hosting
from limner.app.declared import load_target
from limner.domain.jobs import Job
from limner.domain.systems import System
from limner.domain.values import Value, plain
from limner.errors import ConfigurationError

Body: TypeAlias = Callable[[Hosting, Job, Sequence[int]], dict[str, Value]]
Split: TypeAlias = Callable[[dict[str, Value], int], list[dict[str, Value]]]

#: Records in the first page that is tried, and in any page.
_FIRST = 64
_MOST = 2048
#: How full the next page is meant to be; what turns out too large is halved.
_FULL = 0.8
#: Bodies are mostly text that repeats: a low level makes them small, and a high one little smaller.
_LEVEL = 3

_log = structlog.get_logger()


class Format(Struct, frozen=True, kw_only=True):
    """One form that callbacks have."""

    #: The JSON body for some root records of a job; the outbox fills its key ``page`` in, if it has one.
    body: Body
    #: Divides the body of one record that alone is larger than so many bytes; without it, it is sent whole.
    split: Split | None = None


class Written(Struct, frozen=True, kw_only=True):
    """One page, whose place among the pages of its set is not known yet."""

    webhook_id: str
    #: Compressed.
    body: bytes
    #: Root records that it reports.
    records: int


LIMNER = Format(body=callback_body.body, split=callback_body.split)


def formats_of(systems: Mapping[str, System]) -> dict[str, Format]:
    """
    The platform's own format and those that systems bring, by name.

    A system names the function that makes the body; its module may have one called ``split``.

    Raises:
        ConfigurationError: a system names what is no function.
    """
    found = {"limner": LIMNER}
    for system in systems.values():
        for name, target in system.callbacks.items():
            made = load_target(target)
            if not callable(made):
                raise ConfigurationError(f"{target}, a callback format of {system.name}, is no function.")
            found[name] = Format(body=made, split=_split_beside(target))
    return found


def _split_beside(target: str) -> Split | None:
    from importlib import import_module

    found: Split | None = getattr(import_module(target.partition(":")[0]), "split", None)
    return found


def pages_of(host: Hosting, job: Job, keys: Sequence[int], *, format_: Format, max_bytes: int) -> Iterator[Written]:
    """The records *keys* of a job in pages below *max_bytes*; one page without records where there are none."""
    if not len(keys):
        yield _written(format_.body(host, job, []), records=0)
    at, size = 0, _FIRST
    while at < len(keys):
        run = keys[at : at + size]
        body = format_.body(host, job, run)
        webhook_id, encoded = _encode(body)
        if len(encoded) > max_bytes and len(run) > 1:
            size = len(run) // 2
            continue
        if len(encoded) > max_bytes:
            yield from _divided(body, format_=format_, max_bytes=max_bytes, job=job)
        else:
            yield Written(webhook_id=webhook_id, body=zlib.compress(encoded, _LEVEL), records=len(run))
        at += len(run)
        size = min(_MOST, max(1, int(len(run) * _FULL * max_bytes / len(encoded))))


def _divided(body: dict[str, Value], *, format_: Format, max_bytes: int, job: Job) -> Iterator[Written]:
    """One record that alone is too large, in several pages."""
    for part in [body] if format_.split is None else format_.split(body, max_bytes):
        webhook_id, encoded = _encode(part)
        if len(encoded) > max_bytes:
            _log.warning("callback_page_too_large", job=job.id, bytes=len(encoded), max_bytes=max_bytes)
        yield Written(webhook_id=webhook_id, body=zlib.compress(encoded, _LEVEL), records=1)


def _written(body: dict[str, Value], *, records: int) -> Written:
    webhook_id, encoded = _encode(body)
    return Written(webhook_id=webhook_id, body=zlib.compress(encoded, _LEVEL), records=records)


def _encode(body: dict[str, Value]) -> tuple[str, bytes]:
    """A new id, and *body* as JSON with a mark that nobody can guess where its page's place goes."""
    webhook_id = f"msg_{secrets.token_hex(12)}"
    marked = {**body, "page": _mark(webhook_id)} if "page" in body else body
    return webhook_id, msgspec.json.encode(plain(marked))


def sent_body(body: bytes, *, webhook_id: str, page: int, pages: int) -> bytes:
    """What is sent of a page that was written: the same bytes every time."""
    mark = msgspec.json.encode(_mark(webhook_id))
    return zlib.decompress(body).replace(mark, msgspec.json.encode({"n": page, "of": pages}), 1)


def _mark(webhook_id: str) -> str:
    return f"the place of {webhook_id}"
