"""Where everything that is known of a record came from, superseded results included."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from limner.app.failed import told
from limner.app.looking import find_record
from limner.domain.tasks import Status
from limner.domain.values import Value
from limner.errors import NotFound
from limner.store.nodes import StoredNode, StoredVersion
from limner.store.records import RecordState
from limner.store.results import FailedAttempt, StoredResult
from limner.store.store import Transaction


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


def explained(tx: Transaction, collection: str, identity: str, *, stage: str | None = None) -> Why:
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
        history=[told(attempt) for attempt in log],
    )


def _explanation(result: StoredResult) -> str | None:
    if result.status is Status.SKIPPED:
        return str(msgspec.msgpack.decode(result.value)) if result.value else None
    failure = result.failure
    return None if failure is None else f"{failure.code}: {failure.message}"
