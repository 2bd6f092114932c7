"""The routes under which a request is watched, stopped, tried again and asked for its results."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from limner.api.answers import answer, lines
from limner.api.auth import Caller
from limner.api.job_pages import view_of
from limner.api.paging import MOST, USUAL, cursor, place
from limner.api.problems import FieldError
from limner.app.outbox import Outbox
from limner.app.projects import Projects
from limner.domain.failures import FailureCode
from limner.domain.jobs import Job
from limner.domain.values import Value
from limner.errors import Forbidden, IllegalMove, NotFound, UsageError
from limner.store.progress import START, Place
from limner.systems.antenna.status import Failures, status_in
from limner.systems.antenna.status_pages import callbacks_of, errors_of, items_of, results_of
from limner.systems.antenna.status_words import has_begun, moment, status_of
from limner.systems.antenna.wire import refused

Needs: TypeAlias = Callable[[str], Callable[[Request], Caller]]
RequestId = Annotated[str, InPath(description="Id of a request.", min_length=1, max_length=200)]
Status = Literal["WAITING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"]
After = Annotated[str | None, Query(description="What the page before named as next.")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
_PIPELINE = "antenna"
_AT_ONCE = timedelta()


class RetryIn(BaseModel):
    """What is to be tried again."""

    only: Literal["failed"] | list[str] = "failed"


def router(projects: Projects, needs: Needs) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["antenna"])
    watched = Watched(projects)
    _add_reading(made, watched, needs("read"))
    _add_moving(made, watched, needs("submit"))
    return made


def _add_reading(made: APIRouter, watched: "Watched", reading: Callable[[Request], Caller]) -> None:
    def one(request_id: RequestId, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """Where a request stands; its counts are exact in every read."""
        return JSONResponse(watched.status(caller, request_id))

    def items(
        request_id: RequestId,
        caller: Annotated[Caller, Depends(reading)],
        status: Annotated[list[Status] | None, Query()] = None,
        after: After = None,
        limit: Limit = USUAL,
    ) -> Response:
        """Its pictures, with where each of them stands in each step."""
        return answer(watched.items(caller, request_id, status, after=after, limit=limit))

    def results(
        request_id: RequestId, caller: Annotated[Caller, Depends(reading)], after: After = None, limit: Limit = USUAL
    ) -> Response:
        """What the callback holds, a page at a time, at any time."""
        return answer(watched.results(caller, request_id, after=after, limit=limit))

    def errors(request_id: RequestId, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """Every picture without a result, and every line that became none, as JSON Lines."""
        return lines(watched.errors(caller, request_id), filename=f"{request_id}.errors.jsonl")

    def callbacks(request_id: RequestId, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """Every try to deliver its callback."""
        return answer(watched.callbacks(caller, request_id))

    def events(request_id: RequestId, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """What happened to it, oldest first; nothing in it ever changes."""
        return answer(watched.events(caller, request_id))

    def logs(
        caller: Annotated[Caller, Depends(reading)],
        request_id: Annotated[str, Query(alias="requestId", min_length=1, max_length=200)],
        after: After = None,
        limit: Limit = USUAL,
    ) -> Response:
        """Where a request stands, with its pictures."""
        found = watched.status(caller, request_id)
        return answer({**found, **watched.items(caller, request_id, None, after=after, limit=limit)})

    for path, function, summary in (
        ("", one, "Where a request stands"),
        ("/items", items, "Its pictures"),
        ("/results", results, "Its results, a page at a time"),
        ("/errors", errors, "What has no result, as JSON Lines"),
        ("/callbacks", callbacks, "Every try to deliver its callback"),
        ("/events", events, "What happened to it"),
    ):
        made.add_api_route(f"/requests/{{request_id}}{path}", function, methods=["GET"], summary=summary)
    made.add_api_route("/status-controller/getRequestLogs", logs, methods=["GET"], summary="A request and its pictures")


def _add_moving(made: APIRouter, watched: "Watched", submitting: Callable[[Request], Caller]) -> None:
    def cancel(request_id: RequestId, caller: Annotated[Caller, Depends(submitting)]) -> Response:
        """Stop it; what was finished stays."""
        watched.cancel(caller, request_id)
        return JSONResponse(watched.status(caller, request_id), status_code=202)

    def retry(
        request_id: RequestId, caller: Annotated[Caller, Depends(submitting)], body: RetryIn | None = None
    ) -> Response:
        """Try again what failed, or what failed with some codes."""
        watched.retry(caller, request_id, body or RetryIn())
        return JSONResponse(watched.status(caller, request_id), status_code=202)

    def redeliver(request_id: RequestId, caller: Annotated[Caller, Depends(submitting)]) -> Response:
        """Send its callback again."""
        watched.redeliver(caller, request_id)
        return JSONResponse(watched.status(caller, request_id), status_code=202)

    for path, function, summary in (
        ("cancel", cancel, "Stop a request"),
        ("retry", retry, "Try again what failed"),
        ("redeliver", redeliver, "Send the callback again"),
    ):
        made.add_api_route(
            f"/requests/{{request_id}}/{path}", function, methods=["POST"], status_code=202, summary=summary
        )


class Watched:
    """The requests of a server, as those see them who made them."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._failures = Failures()

    def job(self, caller: Caller, identity: str) -> Job:
        """
        The job behind a request.

        Raises:
            Forbidden: it belongs to another project.
            NotFound: there is none.
        """
        with caller.host.store.reading() as tx:
            if tx.jobs.exists(identity):
                job = tx.jobs.get(identity)
                if job.pipeline == _PIPELINE:
                    return job
        if self._projects.owner(identity) not in (None, caller.project):
            raise Forbidden(f"Request {identity} belongs to another project than the token, {caller.project}.")
        raise NotFound(f"There is no request {identity}.")

    def status(self, caller: Caller, identity: str) -> dict[str, Value]:
        """Where a request stands."""
        self.job(caller, identity)
        with caller.host.store.reading() as tx:
            job = tx.jobs.get(identity)
            return status_in(tx, caller.host, view_of(tx, caller.host, job), job, failures=self._failures)

    def items(
        self, caller: Caller, identity: str, status: list[Status] | None, *, after: str | None, limit: int
    ) -> dict[str, Value]:
        """A page of its pictures."""
        self.job(caller, identity)
        begin = place(after, tuple[int, int], start=START)
        with caller.host.store.reading() as tx:
            job = tx.jobs.get(identity)
            view = view_of(tx, caller.host, job)
            found, following = items_of(
                tx, view, job, after=begin, limit=limit, only=None if status is None else set(status)
            )
        return {"items": found, "next": None if following is None else cursor(following)}

    def results(self, caller: Caller, identity: str, *, after: str | None, limit: int) -> dict[str, Value]:
        """A page of its results, in the form of its callback."""
        self.job(caller, identity)
        begin, host = place(after, tuple[int, int], start=START), caller.host
        with host.store.reading() as tx:
            job = tx.jobs.get(identity)
            found, following = results_of(tx, host, view_of(tx, host, job), job, after=begin, limit=limit)
        return {**found, "next": None if following is None else cursor(following)}

    def errors(self, caller: Caller, identity: str) -> Iterator[dict[str, Value]]:
        """Everything of it that has no result."""
        self.job(caller, identity)
        return self._errors(caller, identity)

    def _errors(self, caller: Caller, identity: str) -> Iterator[dict[str, Value]]:
        begin: Place | None = START
        while begin is not None:
            with caller.host.store.reading() as tx:
                job = tx.jobs.get(identity)
                page, begin = errors_of(tx, view_of(tx, caller.host, job), job, after=begin)
            yield from page
        with caller.host.store.reading() as tx:
            aside = tx.jobs.rows_aside(identity, limit=100_000)
        for row, code, reason, text in aside:
            failure = {"code": code, "message": reason, "retryable": False}
            yield {"line": row, "status": "FAILED", "error": failure, "excerpt": text}

    def callbacks(self, caller: Caller, identity: str) -> dict[str, Value]:
        """Every page of its callback with every try."""
        self.job(caller, identity)
        with caller.host.store.reading() as tx:
            return callbacks_of(tx, identity)

    def events(self, caller: Caller, identity: str) -> dict[str, Value]:
        """What happened to it."""
        job = self.job(caller, identity)
        with caller.host.store.reading() as tx:
            found = tx.jobs.events(job.id)
        return {"items": [{"at": moment(one.at), "kind": one.kind, "detail": dict(one.detail)} for one in found]}

    def cancel(self, caller: Caller, identity: str) -> None:
        """Stop it."""
        job = self.job(caller, identity)
        if job.state.ended:
            raise IllegalMove(f"Request {identity} is {self._state(caller, job)}, so it cannot be cancelled.")
        caller.host.cancel(identity)

    def retry(self, caller: Caller, identity: str, body: RetryIn) -> None:
        """Try again what failed."""
        job = self.job(caller, identity)
        codes = None if body.only == "failed" else list(body.only)
        for at, code in enumerate(codes or ()):
            if code not in set(FailureCode):
                known = ", ".join(FailureCode)
                raise refused(FieldError(field=f"only[{at}]", message=f"{code!r} is no code; known are: {known}."))
        state = self._state(caller, job)
        if not job.state.ended:
            raise IllegalMove(f"Request {identity} is {state}; it can be retried once it has ended.")
        try:
            caller.host.retry(identity, codes=codes, cancelled=False)
        except UsageError as error:
            raise IllegalMove(f"Request {identity} is {state}, and nothing of it failed so.") from error

    def redeliver(self, caller: Caller, identity: str) -> None:
        """Send its callback again."""
        job, host = self.job(caller, identity), caller.host
        outbox = Outbox(host, key=self._projects.key)
        try:
            outbox.redeliver(identity)
        except (UsageError, IllegalMove) as error:
            told = f"Request {identity} is {self._state(caller, job)}; no callback of it can be sent again: {error}"
            raise IllegalMove(told) from error
        finally:
            outbox.stop(_AT_ONCE)

    def _state(self, caller: Caller, job: Job) -> str:
        with caller.host.store.reading() as tx:
            now, counts = tx.jobs.get(job.id), tx.ledger.counts(job.id)
            return status_of(now, begun=has_begun(counts, in_hand=tx.progress.span(job.id).begun))
