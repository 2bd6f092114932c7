"""What a record gives a stage that is asked online: values, files, addresses; brought along or stored."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeGuard

from msgspec import Struct

from limner.app.online_target import Target
from limner.domain.nodes import Node
from limner.domain.tasks import FileRef
from limner.domain.values import at_path, decode, encode
from limner.engine.views import View
from limner.errors import AddressRefused, NotFound, UsageError
from limner.settings import Settings
from limner.store.store import Transaction

#: One input of a record: an encoded value, a file's bytes, or where a file is.
Input: TypeAlias = "bytes | FileBytes | FileRef"


class FileBytes(Struct, frozen=True):
    """A file as its bytes."""

    data: bytes


def without_files(rows: Sequence[Mapping[str, Input]]) -> TypeGuard[Sequence[Mapping[str, bytes]]]:
    """Whether *rows* hold values alone: nothing is to be fetched or written down for them."""
    return all(isinstance(value, bytes) for row in rows for value in row.values())


def check(target: Target, rows: Sequence[Mapping[str, Input]]) -> None:
    """
    Do nothing if *rows* are what the stage reads.

    Raises:
        UsageError: there is no row, an input is missing, or there is one that the stage does not read.
    """
    if not rows:
        raise UsageError("There is no record to infer; give each input at least one row.")
    reads = target.runtime.reads
    for row in rows:
        if row.keys() != reads.keys():
            missing, extra = sorted(reads.keys() - row.keys()), sorted(row.keys() - reads.keys())
            told = [f"lacks the input {', '.join(missing)}"] if missing else []
            told += [f"has {', '.join(extra)}, which is no input"] if extra else []
            raise UsageError(f"The request {' and '.join(told)}; {target.address} takes: {', '.join(reads)}")


def allow(settings: Settings, rows: Sequence[Mapping[str, Input]]) -> None:
    """
    Do nothing if the setting ``content`` lets *rows* be asked about.

    Raises:
        AddressRefused: it does not; the sentence names the setting.
    """
    if settings.content == "any":
        return
    if settings.content == "ids":
        raise AddressRefused("Only stored records may be asked about here, by their id: the setting content is ids.")
    for row in rows:
        for value in row.values():
            if isinstance(value, FileRef) and not value.url.startswith(tuple(settings.content_allow or ("\0",))):
                told = f"{value.url} is not among what the setting content_allow lists."
                raise AddressRefused(told)
            if isinstance(value, FileBytes):
                raise AddressRefused("Files may not be sent along here: the setting content is allowlist.")


def stored_row(
    tx: Transaction, view: View, target: Target, *, collection: str | None, identity: str
) -> Mapping[str, Input]:
    """
    What a stored record gives the stage to read.

    Raises:
        NotFound: there is no such record, or it lacks what the stage reads.
    """
    node = node_of(view, target.stage.name, target.implementation)
    name = collection or node.collection
    keys = tx.records.keys(view.collections.get(name, 0), [identity])
    if name != node.collection or identity not in keys:
        raise NotFound(f"{node.collection} has no record {identity}.")
    return _row(tx, view, node, keys[identity], target)


def node_of(view: View, stage: str, implementation: str) -> Node:
    """The node of an implementation of a stage."""
    return next(n for n in view.nodes if n.stage.name == stage and n.implementation == implementation)


def _row(tx: Transaction, view: View, node: Node, key: int, target: Target) -> Mapping[str, Input]:
    record = tx.records.load([key])[key]
    parent = None if record.parent is None else tx.records.load([record.parent]).get(record.parent)
    found: dict[str, Input] = {}
    for source in node.sources:
        owner = parent if source.of_parent else record
        value: object = None
        if owner is not None and source.node is not None:
            version = view.versions.get(source.node, 0)
            packed = tx.results.values([owner.pk], node=source.node, version=version).get(owner.pk)
            value = None if packed is None else at_path(decode(packed), source.path)
        elif owner is not None:
            fields = dict(owner.values())
            whole = fields.get(".".join(source.path))
            value = at_path(fields, source.path) if whole is None else whole
        if value is None and not source.read.optional:
            raise NotFound(f"{record.id} has no {source.read.path}, which {target.address} reads.")
        found[source.name] = encode(value) if source.read.file is None else file_ref(value)
    return found


def file_ref(value: object) -> FileRef:
    """Where a file is that a field or an earlier stage's value names."""
    sha256 = value.get("sha256") if isinstance(value, dict) else None
    return FileRef(url=f"artifact:{sha256}" if sha256 else str(value), checksum=sha256)
