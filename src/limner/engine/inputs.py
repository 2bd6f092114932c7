"""What a task carries: the inputs of its records, as columns of encoded values."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from limner.domain.assessment import Kind, Verdict
from limner.domain.columns import Memo, assess_column
from limner.domain.nodes import Node, Source
from limner.domain.subjects import Subject
from limner.domain.tasks import FileRef, encode_message
from limner.domain.values import at_path, decode, encode
from limner.engine.assessing import Alone, as_it_stands
from limner.engine.subjects import Loaded, load
from limner.engine.views import View
from limner.store.store import Transaction

NOTHING = b"\xc0"


class Inputs(Struct, frozen=True, kw_only=True):
    """The inputs of the records of a task that are still to be inferred."""

    keys: list[int]
    ids: list[str]
    asked: list[bytes]
    columns: dict[str, list[bytes]]
    #: Those of them of which the same version said something before, from other input.
    known: list[int]
    #: Records that the task need not hold any more: retired, current by now, or waiting again.
    dropped: list[int]


def inputs_of(
    tx: Transaction,
    view: View,
    node: Node,
    keys: Sequence[int],
    *,
    fresh: bool,
    memo: Memo | None = None,
    loaded: Loaded | None = None,
) -> Inputs:
    """
    The inputs of one node for the records *keys*, which may be among others that are *loaded*.

    *fresh* asks a file's source again instead of a copy.
    """
    loaded = loaded or load(tx, view, keys, all_of_them=True)
    live = [key for key in keys if key in loaded.records]
    verdicts = _verdicts(node, live, loaded, memo or Memo())
    asked = {key: verdict.asked for key, verdict in zip(live, verdicts, strict=True) if verdict.kind is Kind.READY}
    kept = list(asked)
    held = loaded.held.get(node.pk, {})
    return Inputs(
        keys=kept,
        ids=[loaded.records[key].id for key in kept],
        asked=list(asked.values()),
        columns={source.name: _column(tx, view, source, kept, loaded, fresh=fresh) for source in node.sources},
        known=[key for key in kept if key in held] if held else [],
        dropped=[key for key in keys if key not in asked],
    )


def _verdicts(node: Node, keys: Sequence[int], loaded: Loaded, memo: Memo) -> list[Verdict]:
    """
    What is to be done about a node alone.

    What its upstream said is taken as it stands: where that is stale by now, this is asked again once it has moved.
    """
    columns = {pk: as_it_stands(keys, loaded.held.get(pk, {})) for pk in node.upstream}
    return assess_column(
        node,
        keys,
        [loaded.records[key].digest for key in keys],
        held=loaded.held,
        above=columns,
        alone=Alone(node, keys, loaded, columns),
        memo=memo,
        asking=True,
    )


def _column(
    tx: Transaction, view: View, source: Source, keys: Sequence[int], loaded: Loaded, *, fresh: bool
) -> list[bytes]:
    """One input of all records."""
    if source.node is not None:
        owners = {key: _owner_key(source, key, loaded) for key in keys}
        version = view.versions.get(source.node)
        wanted = sorted({owner for owner in owners.values() if owner is not None})
        values = {} if version is None else tx.results.values(wanted, node=source.node, version=version)
        parts = [part_of(values.get(owners[key] or 0), source.path) for key in keys]
        return parts if source.read.file is None else [_file_of(part) for part in parts]
    subjects = (_owner(source, loaded.subject(key)) for key in keys)
    if source.read.file is None:
        return [NOTHING if s is None else encode(_at(s.fields, source.path)) for s in subjects]
    return [NOTHING if s is None else _file(source, s, fresh=fresh) for s in subjects]


def _owner(source: Source, subject: Subject) -> Subject | None:
    return subject.parent if source.of_parent else subject


def _owner_key(source: Source, key: int, loaded: Loaded) -> int | None:
    return loaded.records[key].parent if source.of_parent else key


def _file(source: Source, subject: Subject, *, fresh: bool) -> bytes:
    """The reference to the file that a field names."""
    checksum = _at(subject.fields, source.checksum) if source.checksum else None
    return encode_message(
        FileRef(
            url=str(_at(subject.fields, source.path)),
            checksum=str(checksum) if checksum else None,
            revision=subject.revision.decode() or None,
            fresh=fresh,
        )
    )


def _file_of(part: bytes) -> bytes:
    """The reference to the artifact that an earlier stage made, or to the address that it answered with."""
    value = decode(part)
    if value is None:
        return NOTHING
    sha256 = value.get("sha256") if isinstance(value, dict) else None
    return encode_message(FileRef(url=f"artifact:{sha256}" if sha256 else str(value), checksum=sha256))


def part_of(value: bytes | None, path: tuple[str, ...]) -> bytes:
    """What stands at *path* in an encoded value, encoded; nil where nothing does."""
    if value is None:
        return NOTHING
    return value if not path else encode(at_path(decode(value), path))


def _at(fields: Mapping[str, object], path: tuple[str, ...]) -> object:
    whole = fields.get(".".join(path))
    return at_path(dict(fields), path) if whole is None else whole


def list_of(items: Sequence[bytes]) -> bytes:
    """Encoded values as one encoded list."""
    return msgspec.msgpack.encode([msgspec.Raw(item) for item in items])
