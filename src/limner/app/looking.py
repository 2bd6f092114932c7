"""Records as they stand in the store: one by its id, those in a scope, and rows with their current values."""

from collections.abc import Iterator, Sequence

from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.records import ExportRow, Provenance, RecordIn
from limner.domain.values import Value, decode
from limner.engine.views import View
from limner.errors import NotFound, UsageError
from limner.store.records import StoredRecord
from limner.store.store import Transaction

_PAGE = 1000


def collection_key(tx: Transaction, name: str) -> int:
    """
    The key of the collection of this name.

    Raises:
        NotFound: there is none; the sentence names the known ones.
    """
    key = tx.records.find_collection(name)
    if key is None:
        known = ", ".join(sorted(tx.records.collection_names().values())) or "none"
        raise NotFound(f"There is no collection {name}; known are: {known}")
    return key


def find_record(tx: Transaction, collection: str, identity: str) -> StoredRecord:
    """
    The record with this id.

    Raises:
        NotFound: there is none, or no such collection; the sentence names the known ones.
    """
    key = collection_key(tx, collection)
    found = tx.records.keys(key, [identity])
    if identity not in found:
        raise NotFound(f"{collection} has no record {identity}.")
    return tx.records.load(list(found.values()))[found[identity]]


def keys_in_scope(
    tx: Transaction, collection: str, *, ids: Sequence[str] | None, since: int | None, until: int | None
) -> list[int] | None:
    """
    The keys of the stored records that are named or whose source version lies in the window; None for all.

    Raises:
        UsageError: there is none, or one that is named does not exist.
    """
    if ids is None and since is None and until is None:
        return None
    found = None if ids is None else [find_record(tx, collection, identity).pk for identity in ids]
    if since is not None or until is not None:
        within = _keys_within(tx, collection, since=since, until=until)
        found = within if found is None else sorted(set(found).intersection(within))
    if not found:
        raise UsageError("No record lies in the scope that was asked for (--ids, --since, --until).")
    return found


def _keys_within(tx: Transaction, collection: str, *, since: int | None, until: int | None) -> list[int]:
    key = tx.records.find_collection(collection)
    found: list[int] = []
    while key is not None:
        page = tx.records.window(key, since=since, until=until, after=found[-1] if found else 0, limit=_PAGE)
        if not page:
            break
        found += page
    return found


def rows_of(
    tx: Transaction, views: Sequence[View], collection: str, *, after: int, limit: int
) -> Iterator[tuple[int, ExportRow]]:
    """The next records of a collection with their current values by stage and where each came from."""
    key = collection_key(tx, collection)
    keys = tx.records.page(key, after=after, limit=limit, stubs=True)
    yield from rows_at(tx, views, collection, keys)


def rows_at(
    tx: Transaction, views: Sequence[View], collection: str, keys: Sequence[int]
) -> Iterator[tuple[int, ExportRow]]:
    """The records of a collection with these keys, in their order, with their current values and provenance."""
    records = tx.records.load(keys)
    parents = tx.records.load(sorted({r.parent for r in records.values() if r.parent is not None}))
    names = tx.records.collection_names()
    values, provenance = values_of(tx, views, collection, keys)
    for pk in keys:
        record = records[pk]
        parent = parents.get(record.parent) if record.parent is not None else None
        yield (
            pk,
            ExportRow(
                record=RecordIn(
                    collection=collection,
                    id=record.id,
                    fields=dict(record.values()),
                    revision=record.revision,
                    source_version=record.source_version,
                    parent=None if parent is None else (names[parent.collection], parent.id),
                ),
                values=values.get(pk, {}),
                provenance=provenance.get(pk, {}),
                parent_fields={} if parent is None else parent.values(),
            ),
        )


def _shown(node: Node, value: Value) -> Value:
    """A value as rows show it: the children of an expansion are rows of their own."""
    return {"count": value["count"]} if node.stage.kind is StageKind.EXPAND else value


def values_of(
    tx: Transaction, views: Sequence[View], collection: str, keys: Sequence[int]
) -> tuple[dict[int, dict[str, Value]], dict[int, dict[str, Provenance]]]:
    """Current values and their provenance, by record and stage."""
    values: dict[int, dict[str, Value]] = {}
    provenance: dict[int, dict[str, Provenance]] = {}
    for node in (node for view in views for node in view.nodes if node.collection == collection):
        if node.version is None:
            continue
        version = tx.nodes.versions([node.version])[node.version].version
        model = None if version.model is None else version.model.sha256
        reads = tx.results.reads(keys, node=node.pk, version=node.version)
        for key, value in tx.results.values(keys, node=node.pk, version=node.version).items():
            values.setdefault(key, {})[node.stage.name] = _shown(node, decode(value))
            provenance.setdefault(key, {})[node.stage.name] = Provenance(
                version=version.digest, model=model, input=reads[key].hex()
            )
    return values, provenance
