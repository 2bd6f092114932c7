"""Looks into the store: where things stand, what failed, and where a value came from."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from limner.domain.failures import Failure
from limner.domain.jobs import Counts, Fate, Job
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.records import ExportRow, Provenance, RecordIn
from limner.domain.tasks import Status
from limner.domain.values import Value, decode
from limner.engine.views import View
from limner.errors import NotFound, UsageError
from limner.store.ledger import standing
from limner.store.nodes import StoredNode, StoredVersion
from limner.store.records import RecordState, StoredRecord
from limner.store.results import FailedAttempt, StoredResult
from limner.store.store import Transaction

_PAGE = 1000


class StageStatus(Struct, frozen=True, kw_only=True):
    """Where one stage of a pipeline stands."""

    stage: str
    version: str | None
    #: Records that wait in tasks, and tasks that are planned or handed out.
    open: int
    tasks: int
    seconds_per_record: float | None


class PipelineStatus(Struct, frozen=True, kw_only=True):
    """Where a pipeline stands."""

    pipeline: str
    collection: str
    counts: Counts
    stages: list[StageStatus]


class JobStatus(Struct, frozen=True, kw_only=True):
    """Where a job stands."""

    id: str
    pipeline: str
    state: str
    round: int
    counts: Counts
    inferred: int
    reused: int
    set_aside: int
    created: float
    ended: float | None


class FailureRow(Struct, frozen=True, kw_only=True):
    """One record that failed in one stage."""

    collection: str
    id: str
    stage: str
    implementation: str
    code: str
    message: str
    reason: str | None
    attempts: int
    workers: list[str]
    task: int | None
    attempt_log: list[str] = field(default_factory=list)


class Origin(Struct, frozen=True, kw_only=True):
    """Where one value came from."""

    stage: str
    implementation: str
    variant: str
    #: ``done``, ``failed`` or ``skipped``.
    status: str
    #: Whether it is what is served: its version is the active one.
    active: bool
    version: str
    code: str
    model: str | None
    model_digest: str | None
    params: Mapping[str, Value]
    environment: Mapping[str, str]
    input_digest: str
    asked_digest: str
    value_digest: str
    worker: str | None
    attempts: int
    task: int | None
    started: float | None
    ended: float | None
    #: Seconds of inferring, the record's share of its task.
    seconds: float | None
    #: Reason of a skip, or code and message of a failure.
    explanation: str | None
    history: list[str]


class Why(Struct, frozen=True, kw_only=True):
    """Where everything that is known of a record came from."""

    collection: str
    id: str
    state: str
    parent: str | None
    revision: str | None
    source_version: int | None
    fields: Mapping[str, Value]
    origins: list[Origin]


def pipeline_status(tx: Transaction, view: View) -> PipelineStatus:
    """Where a pipeline stands."""
    open_work = tx.tasks.durations(nodes=[node.pk for node in view.nodes])
    versions = tx.nodes.versions(list(view.versions.values()))
    stages = []
    for node in view.nodes:
        version = versions.get(node.version or 0)
        records, tasks = open_work.get(node.pk, (0, 0))
        stages.append(
            StageStatus(
                stage=f"{node.stage.name}/{node.implementation}",
                version=None if version is None else version.version.digest[:12],
                open=records,
                tasks=tasks,
                seconds_per_record=None if version is None else version.seconds_per_record,
            )
        )
    counts = tx.ledger.counts(standing(view.pipeline.name))
    return PipelineStatus(
        pipeline=view.pipeline.name, collection=view.pipeline.collection, counts=counts, stages=stages
    )


def job_status(tx: Transaction, job: Job) -> JobStatus:
    """Where a job stands; its counts add up in every read."""
    return JobStatus(
        id=job.id,
        pipeline=job.pipeline,
        state=job.state.value,
        round=job.round,
        counts=tx.ledger.counts(job.id),
        inferred=job.inferred,
        reused=job.reused,
        set_aside=job.set_aside,
        created=job.created,
        ended=job.ended,
    )


def failures(tx: Transaction, view: View, *, job: str | None = None, limit: int = 1000) -> list[FailureRow]:
    """What failed and is not mended: of the records of a job, or of everything in the view."""
    nodes = {node.pk: node for node in tx.nodes.of(view.pipeline.name)}
    names = tx.records.collection_names()
    spans = _job_spans(tx, job) if job else [None]
    found: list[FailureRow] = []
    for span in spans:
        after = 0 if span is None else min(span) - 1
        while len(found) < limit:
            rows = tx.results.failed(
                versions=view.versions, after=after, limit=_PAGE, span=None if span is None else (min(span), max(span))
            )
            if not rows:
                break
            after = rows[-1][0]
            wanted = [row for row in rows if span is None or row[0] in span]
            found += _failure_rows(tx, wanted, nodes, names)
            if len(rows) < _PAGE:
                break
    return found[:limit]


def _job_spans(tx: Transaction, job: str) -> list[set[int] | None]:
    """The failed records of a job with their descendants, a part of its ledger at a time."""
    spans: list[set[int] | None] = []
    for page in tx.ledger.pages(job, having=Fate.FAILED):
        roots = [key for key, fate in page.items() if fate is Fate.FAILED]
        spans.append({*roots, *(key for _, _, key in tx.records.descendants(roots))})
    return spans


def _failure_rows(
    tx: Transaction,
    rows: Sequence[tuple[int, int, int, int, Failure]],
    nodes: Mapping[int, StoredNode],
    names: Mapping[int, str],
) -> list[FailureRow]:
    records = tx.records.load(sorted({row[0] for row in rows}))
    found = []
    for record, node, task, tried, failure in rows:
        log = [attempt for attempt in tx.results.attempts(record) if attempt.node == node]
        found.append(
            FailureRow(
                collection=names[records[record].collection],
                id=records[record].id,
                stage=nodes[node].stage,
                implementation=nodes[node].implementation,
                code=failure.code.value,
                message=failure.message,
                reason=failure.reason,
                attempts=tried,
                workers=list(dict.fromkeys(attempt.worker for attempt in log)),
                task=task or None,
                attempt_log=[_told(attempt) for attempt in log],
            )
        )
    return found


def why(tx: Transaction, collection: str, identity: str, *, stage: str | None = None) -> Why:
    """
    Where everything that is known of a record came from, superseded results included.

    Raises:
        NotFound: there is no such record, or nothing is known of it by this stage.
    """
    record = find_record(tx, collection, identity)
    nodes = {node.pk: node for node in tx.nodes.all()}
    results = [r for r in tx.results.of_record(record.pk) if stage is None or nodes[r.node].stage == stage]
    if stage is not None and not results:
        known = sorted({nodes[r.node].stage for r in tx.results.of_record(record.pk)})
        raise NotFound(f"Stage {stage} has said nothing about {identity}; known are: {', '.join(known) or 'none'}")
    versions = tx.nodes.versions([result.version for result in results])
    log = tx.results.attempts(record.pk)
    origins = [_origin(r, nodes[r.node], versions[r.version], [a for a in log if a.node == r.node]) for r in results]
    origins.sort(key=lambda origin: (not origin.active, origin.ended or 0.0))
    parent = None if record.parent is None else tx.records.load([record.parent])[record.parent].id
    return Why(
        collection=collection,
        id=identity,
        state=RecordState(record.state).name.lower(),
        parent=parent,
        revision=record.revision,
        source_version=record.source_version,
        fields=record.values(),
        origins=origins,
    )


def find_record(tx: Transaction, collection: str, identity: str) -> StoredRecord:
    """
    The record with this id.

    Raises:
        NotFound: there is none, or no such collection; the sentence names the known ones.
    """
    key = tx.records.find_collection(collection)
    if key is None:
        known = ", ".join(sorted(tx.records.collection_names().values())) or "none"
        raise NotFound(f"There is no collection {collection}; known are: {known}")
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


def _origin(result: StoredResult, node: StoredNode, stored: StoredVersion, log: Sequence[FailedAttempt]) -> Origin:
    version = stored.version
    return Origin(
        stage=node.stage,
        implementation=node.implementation,
        variant=node.variant,
        status=result.status.name.lower(),
        active=node.active == result.version and not node.retired,
        version=version.digest,
        code=version.code,
        model=None if version.model is None else f"{version.model.name}@{version.model.number}",
        model_digest=None if version.model is None else version.model.sha256,
        params=version.params,
        environment=version.environment,
        input_digest=result.read.hex(),
        asked_digest=result.asked.hex(),
        value_digest=result.value_digest.hex(),
        worker=result.worker,
        attempts=result.tried,
        task=result.task,
        started=result.started,
        ended=result.ended,
        seconds=result.seconds,
        explanation=_explanation(result),
        history=[_told(attempt) for attempt in log],
    )


def _explanation(result: StoredResult) -> str | None:
    if result.status is Status.SKIPPED:
        return str(msgspec.msgpack.decode(result.value)) if result.value else None
    failure = result.failure
    return None if failure is None else f"{failure.code}: {failure.message}"


def _told(attempt: FailedAttempt) -> str:
    """One failed attempt in a line."""
    ending = "final" if attempt.final else "tried again"
    return f"attempt {attempt.tried} by {attempt.worker}: {attempt.failure.code} {attempt.failure.message} ({ending})"


def rows_of(
    tx: Transaction, views: Sequence[View], collection: str, *, after: int, limit: int
) -> Iterator[tuple[int, ExportRow]]:
    """The next records of a collection with their current values by stage and where each came from."""
    key = tx.records.find_collection(collection)
    if key is None:
        known = ", ".join(sorted(tx.records.collection_names().values())) or "none"
        raise NotFound(f"There is no collection {collection}; known are: {known}")
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
