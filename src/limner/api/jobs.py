"""Jobs: made from records, from lines or from a list behind an address; watched, stopped, tried again."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request
from msgspec import Struct
from pydantic import BaseModel
from starlette.responses import Response

from limner.api.answers import NDJSON, answer, lines, paged
from limner.api.auth import Caller, needs
from limner.api.job_making import Submitted, refused, submit
from limner.api.job_pages import job_of, view_of
from limner.api.paging import MOST, USUAL, cursor, place
from limner.api.schemas import JobBody, RetryBody, model_of, page_of
from limner.app.job_items import Item, errors_of, items_of, results_of, rows_aside
from limner.app.jobs_view import JobProgress, Listed, listed_of
from limner.app.outbox import Outbox
from limner.domain.failures import FailureCode
from limner.domain.jobs import Counts, Fate, JobState
from limner.engine.views import View
from limner.errors import IllegalMove
from limner.store.callbacks import Standing
from limner.store.jobs import Event
from limner.store.progress import START, Place
from limner.store.store import Transaction

JobId = Annotated[str, Path(description="Id of a job.", min_length=1, max_length=200)]
After = Annotated[str | None, Query(description="Cursor of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Read = Annotated[Caller, Depends(needs("read"))]
Submit = Annotated[Caller, Depends(needs("submit"))]
#: How often a stream of events looks for new ones, and how long it is followed at most, in seconds.
_LOOK, _LONGEST = 0.25, 3600.0


class _Page(Protocol):
    """Reads a page of what is known of a job's records, and says where the next one begins."""

    def __call__(self, tx: Transaction, view: View, job: str, *, after: Place) -> tuple[Sequence[object], Place | None]:
        """The page, and the next place; None after the last."""
        ...


class Moved(Struct, frozen=True, kw_only=True):
    """Where a job stands after it was moved."""

    id: str
    state: str
    counts: Counts
    #: Records that are tried again.
    retried: int | None = None


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["jobs"], prefix="/jobs")
    made.add_api_route(
        "",
        submit,
        methods=["POST"],
        status_code=202,
        summary="Make a job",
        responses={202: {"model": model_of(Submitted)}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": JobBody.model_json_schema(ref_template="#/components/schemas/{model}")
                    },
                    NDJSON: {"schema": {"type": "string"}, "example": '{"id": "a", "text": "one"}\n'},
                },
            }
        },
    )
    reading: tuple[tuple[str, Callable[..., Response], str, type[BaseModel]], ...] = (
        ("", listing, "Jobs, the newest first", page_of(Listed)),
        ("/{job}", one, "Where a job stands, stage by stage", model_of(JobProgress)),
        ("/{job}/items", items, "Its records, with what each stage said", page_of(Item)),
        ("/{job}/events", events, "What happened to it; with follow=1 a stream of JSON Lines", page_of(Event)),
        ("/{job}/callback", callback, "Where its callback stands", model_of(Standing)),
    )
    for path, function, summary, model in reading:
        made.add_api_route(path, function, methods=["GET"], summary=summary, responses={200: {"model": model}})
    streams: tuple[tuple[str, Callable[..., Response], str], ...] = (
        ("/{job}/results", results, "Its records with their values, as JSON Lines"),
        ("/{job}/errors", errors, "Its failures, and the rows that became no record, as JSON Lines"),
    )
    for path, function, summary in streams:
        text: dict[int | str, dict[str, object]] = {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}
        made.add_api_route(path, function, methods=["GET"], summary=summary, responses=text)
    moving: tuple[tuple[str, Callable[..., Response], str], ...] = (
        ("/{job}/cancel", cancel, "Stop it; what it finished stays"),
        ("/{job}/retry", retry, "Try again what failed"),
        ("/{job}/redeliver", redeliver, "Send its callback again"),
    )
    for path, function, summary in moving:
        model = model_of(Standing) if path.endswith("redeliver") else model_of(Moved)
        made.add_api_route(
            path, function, methods=["POST"], status_code=202, summary=summary, responses={202: {"model": model}}
        )
    return made


def listing(
    caller: Read,
    pipeline: str | None = None,
    state: Annotated[list[JobState] | None, Query()] = None,
    after: After = None,
    limit: Limit = USUAL,
) -> Response:
    """Jobs, the newest first."""
    before = place(after, tuple[float, str], start=(0.0, ""))
    with caller.host.store.reading() as tx:
        found = tx.progress.jobs(before=before if after else None, limit=limit, pipeline=pipeline, states=state)
        shown = [listed_of(tx, job) for job in found]
    return paged(shown, cursor((found[-1].created, found[-1].id)) if len(found) == limit else None)


def one(job: JobId, caller: Read) -> Response:
    """Where a job stands; its counts are exact in every read."""
    return answer(job_of(caller.host, job))


def items(
    job: JobId,
    caller: Read,
    status: Annotated[list[Literal["open", "done", "failed", "skipped", "cancelled"]] | None, Query()] = None,
    after: After = None,
    limit: Limit = USUAL,
) -> Response:
    """The records of a job as they were taken in, with what each stage said about them."""
    begin = place(after, tuple[int, int], start=START)
    having = None if not status else [Fate[name.upper()] for name in status]
    with caller.host.store.reading() as tx:
        view = view_of(tx, caller.host, tx.jobs.get(job))
        found, following = items_of(tx, view, job, after=begin, limit=limit, having=having)
    return paged(found, None if following is None else cursor(following))


def events(
    job: JobId,
    caller: Read,
    follow: Annotated[bool, Query(description="Go on until the job has ended, as JSON Lines.")] = False,
    after: After = None,
    limit: Limit = USUAL,
) -> Response:
    """What happened to a job, oldest first; nothing in it ever changes."""
    begin = place(after, int, start=0)
    with caller.host.store.reading() as tx:
        tx.jobs.get(job)
        found = tx.jobs.events(job)
    if follow:
        return lines(_followed(caller, job, begin))
    page = found[begin : begin + limit]
    return paged(page, cursor(begin + len(page)) if begin + len(page) < len(found) else None)


def _followed(caller: Caller, job: str, begin: int) -> Iterator[object]:
    """Events as they come, until the job has ended; an empty line now and then shows that the server lives."""
    ends = time.monotonic() + _LONGEST
    while time.monotonic() < ends:
        with caller.host.store.reading() as tx:
            found, ended = tx.jobs.events(job)[begin:], tx.jobs.get(job).state.ended
        yield from found
        begin += len(found)
        if ended:
            return
        time.sleep(_LOOK)


def results(job: JobId, caller: Read) -> Response:
    """Every record of a job with its values and where each came from, its descendants after it."""
    _exists(caller, job)
    return lines(_read_through(caller, job, results_of), filename=f"{job}.results.jsonl")


def errors(job: JobId, caller: Read) -> Response:
    """Every failure of a job, then the rows that became no record."""

    def found() -> Iterator[object]:
        yield from _read_through(caller, job, errors_of)
        with caller.host.store.reading() as tx:
            aside = list(rows_aside(tx, job))
        yield from aside

    _exists(caller, job)
    return lines(found(), filename=f"{job}.errors.jsonl")


def _read_through(caller: Caller, job: str, read: _Page) -> Iterator[object]:
    """All that *read* finds, a page at a time: no transaction is open while a slow client takes what was read."""
    begin: Place | None = START
    while begin is not None:
        with caller.host.store.reading() as tx:
            page, begin = read(tx, view_of(tx, caller.host, tx.jobs.get(job)), job, after=begin)
        yield from page


def callback(job: JobId, caller: Read) -> Response:
    """Where the callback of a job stands."""
    with caller.host.store.reading() as tx:
        tx.jobs.get(job)
        return answer(tx.deliveries.standing(job))


def cancel(job: JobId, caller: Submit) -> Response:
    """Stop a job; finished results stay, and work that another job waits for is left to it."""
    counts = caller.host.cancel(job)
    return answer(Moved(id=job, state=_state(caller, job), counts=counts), status=202)


def retry(job: JobId, caller: Submit, body: RetryBody | None = None) -> Response:
    """Try failed and cancelled records of an ended job again, only failed ones, or only those with some codes."""
    only = None if body is None else body.only
    codes = None if only is None or only == "failed" else list(only)
    unknown = [code for code in codes or () if code not in set(FailureCode)]
    if unknown:
        raise refused("only", f"{unknown[0]!r} is no failure code; known are: {', '.join(FailureCode)}")
    host = caller.host
    with host.store.reading() as tx:
        state = tx.jobs.get(job).state
    if not state.ended:
        raise IllegalMove(f"Job {job} is {state}; it can be retried once it has ended.")
    count = host.retry(job, codes=codes, cancelled=only is None)
    with host.store.reading() as tx:
        counts = tx.ledger.counts(job)
    return answer(Moved(id=job, state=_state(caller, job), counts=counts, retried=count), status=202)


def redeliver(request: Request, job: JobId, caller: Submit) -> Response:
    """Send every page of a job's callback again."""
    host = caller.host
    outbox = Outbox(host, key=request.app.state.projects.key)
    try:
        # Due from now on, for whichever process sends what is due.
        outbox.redeliver(job)
    finally:
        outbox.stop(timedelta())
    with host.store.reading() as tx:
        return answer(tx.deliveries.standing(job), status=202)


def _exists(caller: Caller, job: str) -> None:
    with caller.host.store.reading() as tx:
        tx.jobs.get(job)


def _state(caller: Caller, job: str) -> str:
    with caller.host.store.reading() as tx:
        return tx.jobs.get(job).state.value
