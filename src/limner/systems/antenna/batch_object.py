"""A batch as OpenAI's guide shows it, made of the job behind it and of its files."""

from collections.abc import Mapping

from limner.domain.jobs import Counts, Job, JobState
from limner.domain.values import Value
from limner.errors import NotFound
from limner.store.files import StoredFile
from limner.store.store import Transaction

#: The key of a job's detail under which a batch keeps what it was made with.
DETAIL = "batch"
OUTPUT, ERRORS = "output", "errors"
_STATES: Mapping[JobState, str] = {
    JobState.WAITING: "validating",
    JobState.RUNNING: "in_progress",
    JobState.CANCELLING: "cancelling",
    JobState.DONE: "completed",
    JobState.DONE_WITH_FAILURES: "completed",
    JobState.FAILED: "completed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}
_MOST_ERRORS = 100


def batch_object(tx: Transaction, job: Job) -> dict[str, Value]:
    """Where a batch stands, field for field."""
    told, counts = job.detail[DETAIL], tx.ledger.counts(job.id)
    output, errors = made_file(tx, job, OUTPUT), made_file(tx, job, ERRORS)
    whole = output is not None and errors is not None
    status = _status(job, counts, whole=whole)
    at = {event.kind: event.at for event in tx.jobs.events(job.id)}
    ended = job.ended
    files_at = None if output is None or errors is None else errors.created
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": told["endpoint"],
        "errors": _errors(tx, job) if job.set_aside or status == "failed" else None,
        "input_file_id": told["input_file_id"],
        "completion_window": told["completion_window"],
        "status": status,
        "output_file_id": _id_of(output),
        "error_file_id": _id_of(errors),
        "created_at": int(job.created),
        "in_progress_at": _seconds(at.get("sealed")),
        "expires_at": _seconds(job.expires),
        "finalizing_at": _seconds(ended) if status in ("finalizing", "completed") else None,
        "completed_at": _seconds(files_at) if status == "completed" else None,
        "failed_at": _seconds(ended) if status == "failed" else None,
        "expired_at": _seconds(ended) if job.state is JobState.EXPIRED else None,
        "cancelling_at": _seconds(at.get("cancelling")),
        "cancelled_at": _seconds(ended) if job.state is JobState.CANCELLED else None,
        "request_counts": {
            "total": counts.records + job.set_aside,
            "completed": counts.done + counts.skipped,
            "failed": counts.failed + job.set_aside,
        },
        "metadata": told["metadata"],
    }


def file_object(file: StoredFile) -> dict[str, Value]:
    """A file as OpenAI's guide shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }


def file_id(job: Job, kind: str) -> str:
    """The id of a file that is made when a batch ends; another one after it was tried again."""
    return f"file-{job.id}-{job.round}-{kind}"


def made_file(tx: Transaction, job: Job, kind: str) -> StoredFile | None:
    """A file of an ended batch, once it was made."""
    if not job.state.ended:
        return None
    try:
        return tx.files.get(file_id(job, kind))
    except NotFound:
        return None


def _status(job: Job, counts: Counts, *, whole: bool) -> str:
    if not job.state.ended:
        return "validating" if not job.sealed and job.state is JobState.RUNNING else _STATES[job.state]
    if counts.records == 0 and job.state is not JobState.CANCELLED:
        return "failed"
    found = _STATES[job.state]
    return "finalizing" if found == "completed" and not whole else found


def _errors(tx: Transaction, job: Job) -> dict[str, Value]:
    """The lines that became none, and why a file could not be read at all."""
    found: list[Value] = [
        {"code": code, "line": int(row) if row.isdigit() else None, "message": why, "param": None}
        for row, code, why, _ in tx.jobs.rows_aside(job.id, limit=_MOST_ERRORS)
    ]
    for event in tx.jobs.events(job.id):
        if event.kind == "refused":
            found.append({"code": "INPUT_INVALID", "line": None, "message": event.detail.get("reason"), "param": None})
    return {"object": "list", "data": found}


def _id_of(file: StoredFile | None) -> str | None:
    return None if file is None or not file.size else file.id


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)
