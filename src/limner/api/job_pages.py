"""One job of a host, read from its store."""

from limner.app.hosting import Host
from limner.app.jobs_view import JobProgress, job_progress
from limner.domain.jobs import Job
from limner.engine.views import View
from limner.store.store import Transaction


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
