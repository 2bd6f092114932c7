"""From records and results to the documents of an index."""

from collections.abc import Mapping, Sequence

from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.values import Value, at_path, decode
from limner.engine.views import View
from limner.search.base import Document
from limner.search.lineage import lineages
from limner.search.mapping import Mapping as SearchMapping
from limner.store.ledger import standing
from limner.store.records import RecordState, StoredRecord
from limner.store.store import Transaction


def documents_of(
    tx: Transaction, view: View, mapping: SearchMapping, *, collection: str, keys: Sequence[int]
) -> tuple[list[Document], list[str]]:
    """The documents of the records *keys* of a collection, and the ids of those that are not live any more."""
    records = tx.records.load(keys)
    live = {key: record for key, record in records.items() if record.state != RecordState.RETIRED}
    gone = [record.id for record in records.values() if record.state == RecordState.RETIRED]
    own = _Values(tx, view, list(live), collection=collection)
    parents = tx.records.load(sorted({r.parent for r in live.values() if r.parent is not None}))
    above = _Parents(tx, view, parents)
    complete = _complete(tx, view, collection=collection, keys=list(live))
    documents = []
    for key, record in live.items():
        documents.append(_document(record, mapping, own=own, above=above, complete=key in complete))
    return documents, gone


def _document(
    record: StoredRecord, mapping: SearchMapping, *, own: "_Values", above: "_Parents", complete: bool
) -> Document:
    fields = record.values()
    texts: dict[str, str | Sequence[str]] = {}
    filters: dict[str, Value] = {}
    vectors: dict[str, Value] = {}
    versions: dict[str, str] = {}
    for path in {**mapping.text, **mapping.filters, **mapping.vectors}:
        if path.startswith("parent."):
            found, version = above.at(record.parent, path.removeprefix("parent."))
        else:
            found, version = own.at(record.pk, fields, path)
        if found is None:
            continue
        if path in mapping.vectors:
            vectors[path] = found
        if path in mapping.text and (words := _words(found)):
            texts[path] = words
        if path in mapping.filters and (values := _comparable(found)) is not None:
            filters[path] = values
        if version is not None:
            versions[path] = version
    return Document(id=record.id, text=texts, filters=filters, vectors=vectors, versions=versions, complete=complete)


class _Values:
    """Current values of some records of one collection, by stage; each stage is loaded once."""

    def __init__(self, tx: Transaction, view: View, keys: Sequence[int], *, collection: str) -> None:
        self._values: dict[str, dict[int, Value]] = {}
        self._versions: dict[str, str] = {}
        made_by = lineages(tx, view)
        for node in view.nodes:
            if node.collection == collection and node.pk in made_by:
                self._load(tx, node, keys)
                self._versions[node.stage.name] = made_by[node.pk]

    def _load(self, tx: Transaction, node: Node, keys: Sequence[int]) -> None:
        assert node.version is not None
        stored = tx.results.values(keys, node=node.pk, version=node.version)
        self._values[node.stage.name] = {key: decode(value) for key, value in stored.items()}

    def at(self, key: int, fields: Mapping[str, Value], path: str) -> tuple[Value, str | None]:
        """What stands at *path* of a record, and the version that it came from if it was inferred."""
        first, _, rest = path.partition(".")
        if first in self._values:
            value = self._values[first].get(key)
            return at_path(value, tuple(rest.split("."))), self._versions[first]
        whole = fields.get(path)
        return (at_path(dict(fields), tuple(path.split("."))) if whole is None else whole), None


class _Parents:
    """Fields and values of parents, of whatever collection they are."""

    def __init__(self, tx: Transaction, view: View, parents: Mapping[int, StoredRecord]) -> None:
        self._fields = {key: parent.values() for key, parent in parents.items()}
        names = {key: name for name, key in view.collections.items()}
        self._values: dict[int, _Values] = {}
        for collection in {parent.collection for parent in parents.values()}:
            keys = [key for key, parent in parents.items() if parent.collection == collection]
            values = _Values(tx, view, keys, collection=names.get(collection, ""))
            self._values.update(dict.fromkeys(keys, values))

    def at(self, parent: int | None, path: str) -> tuple[Value, str | None]:
        """What stands at *path* of a parent."""
        if parent is None or parent not in self._fields:
            return None, None
        return self._values[parent].at(parent, self._fields[parent], path)


def _complete(tx: Transaction, view: View, *, collection: str, keys: Sequence[int]) -> set[int]:
    """The records of which every required stage has a current value or was skipped."""
    if collection != view.pipeline.collection or not view.pipeline.standing:
        return set(keys)
    fates = tx.ledger.fates(standing(view.pipeline.name), keys)
    return {key for key, fate in fates.items() if fate in (Fate.DONE, Fate.SKIPPED)}


def _words(value: Value) -> str | list[str]:
    """The words in a value: texts as they are, the texts inside lists and objects one by one."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [word for item in value for word in _listed(_words(item))]
    if isinstance(value, dict):
        return [word for item in value.values() for word in _listed(_words(item))]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _listed(words: str | list[str]) -> list[str]:
    return [words] if isinstance(words, str) and words else list(words) if isinstance(words, list) else []


def _comparable(value: Value) -> Value:
    """A value or values that can be compared whole; None where it cannot."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        kept = [item for item in value if isinstance(item, str | int | float | bool)]
        return kept or None
    return None
