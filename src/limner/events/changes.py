"""From an entry of the journal to the events that tell of it, as the records stand now."""

from collections.abc import Iterator, Mapping, Sequence

from limner.domain.tasks import Status
from limner.domain.values import Value, decode
from limner.events.base import Message
from limner.events.cloud_events import (
    Kind,
    Origin,
    RecordData,
    ResultData,
    ResultsData,
    VersionData,
    message_of,
)
from limner.store.journal import Entry
from limner.store.nodes import StoredNode, StoredVersion
from limner.store.records import RecordState, StoredRecord
from limner.store.results import BareResult
from limner.store.store import Transaction


def events_of(tx: Transaction, entry: Entry, keys: Sequence[int], *, origin: Origin) -> Iterator[Message]:
    """The events that tell of the records *keys* of *entry*; of none where the entry names none but a version."""
    names = tx.records.collection_names()
    collection = names[entry.collection]
    if entry.kind == "version":
        versions = _versions_served(tx, entry.collection)
        served = VersionData(project=origin.project, collection=collection, versions=versions)
        yield message_of(origin, Kind.VERSION, served, number=entry.number, at=entry.at)
        return
    records = tx.records.load(keys)
    parents = tx.records.load(sorted({one.parent for one in records.values() if one.parent is not None}))
    said = _said(tx, list(records)) if entry.kind == "results" else {}
    for key in keys:
        # A record that was erased since has no event of its own any more.
        record = records.get(key)
        if record is None:
            continue
        parent = parents.get(record.parent) if record.parent is not None else None
        of = None if parent is None else (names[parent.collection], parent.id)
        kind, data = _told(record, said.get(key), project=origin.project, collection=collection, parent=of)
        yield message_of(origin, kind, data, number=entry.number, at=entry.at, key=str(key))


def _told(
    record: StoredRecord,
    said: Sequence[ResultData] | None,
    *,
    project: str,
    collection: str,
    parent: tuple[str, str] | None,
) -> tuple[Kind, RecordData | ResultsData]:
    """What is told of one record: what is said of it, if that changed, else the record itself."""
    if said is not None:
        return Kind.RESULTS, ResultsData(
            project=project, collection=collection, id=record.id, parent=parent, results=said
        )
    return Kind.RETIRED if record.state == RecordState.RETIRED else Kind.RECORD, RecordData(
        project=project,
        collection=collection,
        id=record.id,
        parent=parent,
        revision=record.revision,
        source_version=record.source_version,
        fields=dict(record.values()),
    )


def _said(tx: Transaction, keys: Sequence[int]) -> dict[int, list[ResultData]]:
    """What active versions say of records, by record, in the order of the nodes; nothing is a list, too."""
    nodes = {node.pk: node for node in tx.nodes.all() if not node.retired and node.active is not None}
    versions = tx.nodes.versions([node.active for node in nodes.values() if node.active is not None])
    found: dict[int, list[ResultData]] = {key: [] for key in keys}
    for result in tx.results.of_records(keys):
        node = nodes.get(result.node)
        if node is not None and node.active == result.version:
            found[result.record].append(_result(result, node, versions[result.version]))
    return found


def _result(result: BareResult, node: StoredNode, version: StoredVersion) -> ResultData:
    # What was skipped holds its reason, or nothing.
    value: Value = decode(result.value) if result.value and result.status is not Status.FAILED else None
    failure = result.failure
    model = version.version.model
    return ResultData(
        pipeline=node.pipeline,
        stage=node.stage,
        implementation=node.implementation,
        variant=node.variant,
        status=result.status.name.lower(),
        version=version.version.digest,
        model=None if model is None else model.sha256,
        read=result.read.hex(),
        digest=result.value_digest.hex(),
        value=value if result.status is Status.DONE else None,
        failure=None if failure is None else {"code": failure.code.value, "message": failure.message},
        reason=str(value) if result.status is Status.SKIPPED and value is not None else None,
    )


def _versions_served(tx: Transaction, collection: int) -> Mapping[str, str]:
    """Digests of the active versions over a collection."""
    nodes = [node for node in tx.nodes.all() if node.collection == collection and not node.retired]
    versions = tx.nodes.versions([node.active for node in nodes if node.active is not None])
    return {
        f"{node.pipeline}.{node.stage}/{node.implementation}": versions[node.active].version.digest
        for node in nodes
        if node.active is not None and not node.variant
    }
