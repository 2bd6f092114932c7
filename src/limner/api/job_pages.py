"""One job, or one line of a listing of jobs, read from the store."""

from msgspec import Struct

from limner.app.hosting import Host
from limner.app.jobs_view import JobProgress, job_progress
from limner.domain.jobs import Counts, Job
from limner.engine.views import View
from limner.store.store import Transaction


class Listed(Struct, frozen=True, kw_only=True):
    """A job as a listing shows it."""

    id: str
    pipeline: str
    state: str
    round: int
    #: Ended records of all: ``2/6``.
    progress: str
    counts: Counts
    set_aside: int
    priority: int
    created: float
    ended: float | None
    expires: float | None


def listed_of(tx: Transaction, job: Job) -> Listed:
    """*job* as a listing shows it."""
    counts = tx.ledger.counts(job.id)
    return Listed(
        id=job.id,
        pipeline=job.pipeline,
        state=job.state.value,
        round=job.round,
        progress=f"{counts.records - counts.open}/{counts.records}",
        counts=counts,
        set_aside=job.set_aside,
        priority=job.priority,
        created=job.created,
        ended=job.ended,
        expires=job.expires,
    )


def view_of(tx: Transaction, host: Host, job: Job) -> View:
    """What a job looks through."""
    choices = {stage: list(ways) for stage, ways in job.choices.items()}
    return host.engine.view(tx, job.pipeline, choices)


def job_of(host: Host, identity: str) -> JobProgress:
    """
    Where a job stands.

    Raises:
        NotFound: there is none.
    """
    with host.store.reading() as tx:
        job = tx.jobs.get(identity)
        view = view_of(tx, host, job)
        return job_progress(tx, view, job, now=host.clock.now(), served_here=host.serves, trouble=host.bus_trouble)
