"""Where pipelines and jobs stand."""

from msgspec import Struct

from limner.domain.jobs import Counts, Job
from limner.engine.views import View
from limner.store.ledger import standing
from limner.store.store import Transaction


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
