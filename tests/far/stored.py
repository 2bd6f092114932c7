"""What a server's store says of tasks and records, for tests that look behind the protocol."""

from limner.domain.failures import FailureCode
from limner.domain.jobs import Job
from tests.far.consumer import Said
from tests.far.rig import Server


def failures(server: Server, job: Job) -> list[tuple[FailureCode, int]]:
    """Code and attempts of the failed records of a job, in order."""
    with server.host.store.reading() as tx:
        records = sorted(key for page in tx.ledger.pages(job.id) for key in page)
        rows = tx.results.failed(versions=actives(server), span=(records[0], records[-1]), limit=1000)
        return [(failure.code, times) for _, _, _, times, failure in rows]


def actives(server: Server) -> dict[int, int]:
    """The active version of each node."""
    with server.host.store.reading() as tx:
        return {node.pk: node.active for node in tx.nodes.all() if node.active is not None}


def tried(server: Server, task: Said) -> int:
    """Attempts that the records of a task were charged with before."""
    with server.host.store.reading() as tx:
        return tx.tasks.load([task["task_id"]])[task["task_id"]].tried
