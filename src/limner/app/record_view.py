"""Records as doors show them: fields, current values, where each came from; filtered, or in an older version."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from limner.app.app import App
from limner.app.looking import collection_key, find_record, rows_at
from limner.app.searching import comparison_of
from limner.domain.reads import Comparison, Condition, holds
from limner.domain.records import ExportRow, Provenance
from limner.domain.tasks import Status
from limner.domain.values import Value, at_path, decode
from limner.errors import NotFound
from limner.store.store import Transaction

#: Records that one page looks at, at most, to find those that a filter wants.
_LOOKED_AT = 20_000
_CHUNK = 500


class RecordView(Struct, frozen=True, kw_only=True):
    """A record with its current values."""

    collection: str
    id: str
    fields: Mapping[str, Value]
    revision: str | None = None
    source_version: int | None = None
    #: Collection and id.
    parent: tuple[str, str] | None = None
    #: By stage.
    values: Mapping[str, Value] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)


def record_at(row: ExportRow, *, stages: Sequence[str] | None = None) -> RecordView:
    """*row* as doors show it, only with what *stages* said if asked."""
    record = row.record
    return RecordView(
        collection=record.collection,
        id=record.id,
        fields=record.fields,
        revision=record.revision,
        source_version=record.source_version,
        parent=record.parent,
        values={name: value for name, value in row.values.items() if stages is None or name in stages},
        provenance={name: value for name, value in row.provenance.items() if stages is None or name in stages},
    )


def rows_where(
    app: App, collection: str, where: Sequence[str], *, after: int, limit: int
) -> tuple[list[RecordView], int | None]:
    """
    The next records for which all comparisons hold, and where the page after them begins; None at the end.

    A page may be short, even empty, where a filter passes over many records; it goes on where it says.

    Raises:
        NotFound: there is no such collection.
        UsageError: a comparison cannot be understood.
    """
    conditions = [comparison_of(text) for text in where]
    found: list[RecordView] = []
    looked_at = 0
    while True:
        with app.store.reading() as tx:
            key = collection_key(tx, collection)
            size = min(_CHUNK, limit - len(found)) if not conditions else _CHUNK
            keys = tx.records.page(key, after=after, limit=size)
            views = [view for view in app.views(tx) if collection in view.pipeline.collections()]
            for pk, row in rows_at(tx, views, collection, keys):
                after = pk
                if all(_holds(condition, row) for condition in conditions):
                    found.append(record_at(row))
                    if len(found) == limit:
                        return found, after
        looked_at += len(keys)
        if len(keys) < size:
            return found, None
        if looked_at >= _LOOKED_AT:
            return found, after


def _holds(condition: Condition, row: ExportRow) -> bool:
    """Whether a comparison holds for a record's own property, a stage's value or a field."""
    own = {"id": row.record.id, "revision": row.record.revision, "source_version": row.record.source_version}
    first, *rest = condition.path.split(".")
    fields = row.record.fields
    if condition.path in own:
        value: Value = own[condition.path]
    elif first in row.values and rest:
        value = at_path(row.values[first], tuple(rest))
    else:
        value = fields.get(condition.path, at_path(fields, (first, *rest)))
    if value is None and condition.compare not in (Comparison.EXISTS, Comparison.NOT_EQUAL):
        return False
    try:
        return holds(condition, value)
    except (TypeError, ValueError):
        # Arrays are neither equal nor less than one another as a whole.
        return False


def record_of_version(app: App, collection: str, identity: str, *, version: str) -> RecordView:
    """
    A record with what the versions whose digest begins so said of it, superseded or not.

    Raises:
        NotFound: there is no such record, or no such version said anything about it.
    """
    with app.store.reading() as tx:
        record = find_record(tx, collection, identity)
        nodes = {node.pk: node for node in tx.nodes.all()}
        results = tx.results.of_record(record.pk)
        stored = tx.nodes.versions([one.version for one in results])
        values: dict[str, Value] = {}
        provenance: dict[str, Provenance] = {}
        for one in results:
            made = stored[one.version].version
            if made.digest.startswith(version) and one.status is Status.DONE:
                stage = nodes[one.node].stage
                values[stage] = decode(one.value)
                provenance[stage] = Provenance(
                    version=made.digest, model=None if made.model is None else made.model.sha256, input=one.read.hex()
                )
        if not values:
            known = ", ".join(sorted({stored[one.version].version.digest[:12] for one in results})) or "none"
            raise NotFound(f"No version {version} said anything about {identity}; known are: {known}")
        return RecordView(
            collection=collection,
            id=record.id,
            fields=dict(record.values()),
            revision=record.revision,
            source_version=record.source_version,
            parent=_parent(tx, record.parent),
            values=values,
            provenance=provenance,
        )


def _parent(tx: Transaction, key: int | None) -> tuple[str, str] | None:
    if key is None:
        return None
    parent = tx.records.load([key])[key]
    return tx.records.collection_names()[parent.collection], parent.id
