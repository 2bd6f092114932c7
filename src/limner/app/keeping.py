"""One record inferred by a job, its result stored like any other: what is asked to be kept, or lives far away."""

import time
from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from limner.app.hosting import Host
from limner.app.online_inputs import FileBytes, Input
from limner.app.online_target import Target
from limner.app.submitting import Submission
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Job
from limner.domain.nodes import Node
from limner.domain.records import RecordIn
from limner.domain.tasks import FileRef, Outcome, Status
from limner.domain.values import Value, decode
from limner.errors import UsageError
from limner.ids import new_id

#: How often it is looked whether the job has ended, in seconds: soon at first, then seldom.
_SOON, _SELDOM = 0.01, 0.25
#: What is answered to somebody who waits goes before all else.
_PRIORITY = 1000


class Kept(Struct, frozen=True, kw_only=True):
    """What a job of one record came to."""

    job: str
    outcome: Outcome


def keep(
    host: Host,
    target: Target,
    row: Mapping[str, Input] | None,
    *,
    identity: str | None,
    within: timedelta = timedelta(minutes=5),
) -> Kept:
    """
    Take one record in, have it inferred by *target*, and wait for that.

    *row* is what the stage reads of it; None takes the record called *identity* as it is stored.

    Raises:
        UsageError: the stage reads what earlier stages say, so that a record cannot bring it along.
    """
    needed = _needed(target)
    chosen = {stage.name: [stage.default] if stage.name in needed else [] for stage in target.pipeline.stages}
    name = identity or new_id("online", now=host.clock.now())
    if row is None:
        ask = Submission(pipeline=target.pipeline.name, ids=[name], choices=chosen, priority=_PRIORITY)
    else:
        record = RecordIn(
            collection=target.pipeline.over(target.stage), id=name, fields=_merged(host, target, name, row)
        )
        ask = Submission(pipeline=target.pipeline.name, rows=[record], choices=chosen, priority=_PRIORITY)
    job = host.submit(ask)
    ended = _wait(host, job, within=within)
    if ended is None:
        told = f"{target.address} did not answer within {within.total_seconds():g} s; job {job.id} goes on."
        failure = Failure(code=FailureCode.STAGE_TIMEOUT, message=told)
        return Kept(job=job.id, outcome=Outcome(index=0, status=Status.FAILED, failure=failure))
    return Kept(job=job.id, outcome=_outcome(host, target, ended, name))


def _needed(target: Target) -> set[str]:
    """The stage and all those before it that it reads."""
    stages = {stage.name: stage for stage in target.pipeline.stages}
    found, waiting = set(), [target.stage.name]
    while waiting:
        name = waiting.pop()
        found.add(name)
        stage = stages[name]
        paths = [read.path for read in stage.reads_of(stage.default).values()]
        paths += [condition.path for condition in stage.when_of(stage.default)]
        read = {path.removeprefix("parent.").partition(".")[0] for path in paths} & set(stages)
        waiting += sorted(read - found)
    return found


def _merged(host: Host, target: Target, identity: str, row: Mapping[str, Input]) -> dict[str, Value]:
    """The record's fields: those that are stored, and on top of them what the stage is to read."""
    collection = target.pipeline.over(target.stage)
    with host.store.reading() as tx:
        key = tx.records.keys(tx.records.find_collection(collection) or 0, [identity]).get(identity)
        fields = {} if key is None else dict(tx.records.load([key])[key].values())
    names = {stage.name for stage in target.pipeline.stages} | {"parent"}
    for name, value in row.items():
        path = target.stage.reads_of(target.implementation)[name].path
        if path.partition(".")[0] in names:
            told = f"{target.address} reads {path}, which no record brings along; name a stored record by its id."
            raise UsageError(told)
        _put(fields, path, _field(host, value))
    return fields


def _put(fields: dict[str, Value], path: str, value: Value) -> None:
    *steps, last = path.split(".")
    for step in steps:
        fields = fields.setdefault(step, {})
    fields[last] = value


def _field(host: Host, value: Input) -> Value:
    """What stands in a field for an input: a file that was sent along becomes an artifact."""
    if isinstance(value, FileRef):
        return value.url
    if isinstance(value, FileBytes):
        return f"artifact:{host.app.artifacts.put(value.data)}"
    return decode(value)


def _wait(host: Host, job: Job, *, within: timedelta) -> Job | None:
    """The job once it has ended; None where it has not in time."""
    ends, pause = time.monotonic() + within.total_seconds(), _SOON
    while time.monotonic() < ends:
        with host.store.reading() as tx:
            found = tx.jobs.get(job.id)
        if found.state.ended:
            return found
        time.sleep(pause)
        pause = min(_SELDOM, pause * 1.5)
    return None


def _outcome(host: Host, target: Target, job: Job, identity: str) -> Outcome:
    """What the stage said of the record."""
    with host.store.reading() as tx:
        view = host.engine.view(tx, job.pipeline, {stage: list(ways) for stage, ways in job.choices.items()})
        node = next(n for n in view.nodes if n.stage.name == target.stage.name)
        collection = tx.records.find_collection(target.pipeline.over(target.stage)) or 0
        key = tx.records.keys(collection, [identity]).get(identity)
        found = [] if key is None else [r for r in tx.results.of_record(key) if _said(r.node, r.version, node)]
    if not found:
        told = f"{target.address} said nothing about {identity}; job {job.id} is {job.state}."
        failure = Failure(code=FailureCode.CANCELLED, message=told)
        return Outcome(index=0, status=Status.FAILED, failure=failure)
    result = found[-1]
    if result.status is Status.SKIPPED:
        told = f"{target.address} skips {identity}: {decode(result.value)}"
        failure = Failure(code=FailureCode.INPUT_INVALID, message=told)
        return Outcome(index=0, status=Status.FAILED, failure=failure)
    return Outcome(
        index=0,
        status=result.status,
        value=b"" if result.failure else result.value,
        value_digest=result.value_digest,
        read_digest=result.read,
        failure=result.failure,
    )


def _said(node: int, version: int, wanted: Node) -> bool:
    return node == wanted.pk and version == wanted.version
