"""
The routes of existing workers of the older controller; mounted where the setting `facades` lists ``antenna-v2``.

A worker registers the pipelines that it serves, asks which jobs wait for them, takes pictures, and sends what its
models said. Each pipeline becomes an implementation of the stage `detect`, whose version is what was registered.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct
from starlette.responses import Response

from limner.api.auth import Caller
from limner.api.bodies import answered, body_of, decoded, described
from limner.api.problems import FieldError, Refused
from limner.api.work import Desks
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.server_client import JSON
from limner.systems.antenna.process_wire import NotUnderstood
from limner.systems.antenna.pull_v2_desk import PIPELINE, PullDesk
from limner.systems.antenna.pull_v2_wire import (
    RegisterAnswer,
    RegisterAsk,
    ResultsAnswer,
    ResultsAsk,
    ResultV2,
    TasksAsk,
    timestamp,
)

_MAX_BODY = 64_000_000
_MODE = "async_api"
_Needs = Callable[[str], Callable[[Request], Caller]]


class _Routes:
    """The calls of existing workers."""

    def __init__(self) -> None:
        self._desks = Desks({})
        self._made: dict[str, PullDesk] = {}

    def desk(self, host: Host) -> PullDesk:
        """The desk of a project; made when it is first asked for."""
        if host.name not in self._made:
            host.pipeline(PIPELINE)
            self._made[host.name] = PullDesk(host, self._desks.of(host))
        return self._made[host.name]


def routes(projects: Projects, needs: _Needs) -> APIRouter:
    """The routes; *needs* makes the dependency that asks for a token with a scope."""
    made = APIRouter(prefix="/api/v2", tags=["existing workers"])
    known = _Routes()
    working = needs("work")
    _add_register(made, known, working)
    _add_jobs(made, known, working)
    _add_tasks(made, known, working)
    _add_results(made, known, working)
    return made


def _add_register(router: APIRouter, known: _Routes, working: Callable[[Request], Caller]) -> None:
    async def register(project: str, request: Request, caller: Annotated[Caller, Depends(working)]) -> Response:
        """The pipelines that a worker serves; with a token for `work:detect` or `admin` new ones are taken in."""
        ask = decoded(await body_of(request, max_body_bytes=_MAX_BODY), kind=JSON, type=RegisterAsk)
        ip = request.client.host if request.client else ""

        def registered() -> RegisterAnswer:
            desk = known.desk(caller.host)
            told, created, algorithms = desk.register(ask, scopes=caller.scopes, token_id=caller.token_id, ip=ip)
            error = "; ".join(f"{one.implementation}: {one.why}" for one in told)
            return RegisterAnswer(
                timestamp=timestamp(caller.host.clock.now()),
                success=not told,
                error=error or None,
                pipelines=ask.pipelines,
                pipelines_created=created,
                algorithms_created=algorithms,
            )

        try:
            return answered(request, await run_in_threadpool(registered), status=201)
        except NotUnderstood as error:
            raise Refused(422, str(error), errors=[FieldError(field="pipelines", message=str(error))]) from error

    _add_post(
        router,
        "/projects/{project}/pipelines",
        register,
        takes=RegisterAsk,
        summary="A worker names the pipelines that it serves",
        status=201,
    )


def _add_jobs(router: APIRouter, known: _Routes, working: Callable[[Request], Caller]) -> None:
    def jobs(
        request: Request,
        caller: Annotated[Caller, Depends(working)],
        several: Annotated[str, Query(alias="pipeline__slug__in", description="Slugs, with commas between.")] = "",
        one: Annotated[str, Query(alias="pipeline__slug", description="One slug.")] = "",
        mode: Annotated[str, Query(alias="dispatch_mode")] = _MODE,
    ) -> Response:
        """Jobs that have not ended and wait for one of these pipelines, the most urgent first."""
        slugs = [slug for slug in (*several.split(","), one) if slug]
        found = known.desk(caller.host).jobs(slugs) if mode == _MODE else []
        return answered(request, {"results": found})

    for path in ("/jobs", "/jobs/"):
        router.add_api_route(
            path, jobs, methods=["GET"], summary="Jobs that wait for pipelines", include_in_schema=path == "/jobs"
        )


def _add_tasks(router: APIRouter, known: _Routes, working: Callable[[Request], Caller]) -> None:
    async def tasks(job: int, request: Request, caller: Annotated[Caller, Depends(working)]) -> Response:
        """Up to `batch_size` pictures; each is the worker's for ten minutes."""
        ask = decoded(await body_of(request, max_body_bytes=_MAX_BODY), kind=JSON, type=TasksAsk)
        if ask.batch_size < 1:
            told = "batch_size is 1 or more."
            raise Refused(422, told, errors=[FieldError(field="batch_size", message=told)])
        desk = known.desk(caller.host)
        found = await run_in_threadpool(
            lambda: desk.take(job, most=ask.batch_size, client=ask.client_info, scopes=caller.scopes)
        )
        return answered(request, {"tasks": found})

    _add_post(router, "/jobs/{job}/tasks", tasks, takes=TasksAsk, summary="Take pictures")


def _add_results(router: APIRouter, known: _Routes, working: Callable[[Request], Caller]) -> None:
    async def results(job: int, request: Request, caller: Annotated[Caller, Depends(working)]) -> Response:
        """What models said of pictures; answered once it is stored. Results are matched by their reply subject."""
        body = await body_of(request, max_body_bytes=_MAX_BODY)
        if body.lstrip().startswith(b"["):
            # Older workers send the list alone.
            listed = decoded(body, kind=JSON, type=list[ResultV2])
        else:
            listed = decoded(body, kind=JSON, type=ResultsAsk).results
        found = await run_in_threadpool(known.desk(caller.host).settle, listed)
        queued = sum(one.status == "queued" for one in found)
        answer = ResultsAnswer(status="accepted", job_id=job, results_queued=queued, tasks=found)
        return answered(request, answer)

    _add_post(router, "/jobs/{job}/result", results, takes=ResultsAsk, summary="Hand in what models said")


def _add_post(
    router: APIRouter,
    path: str,
    call: Callable[..., object],
    *,
    takes: type[Struct],
    summary: str,
    status: int = 200,
) -> None:
    """A route whose body is *takes*; workers ask with a slash at the end and without, and the document shows one."""
    for one in (f"{path}/", path):
        router.add_api_route(
            one,
            call,
            methods=["POST"],
            status_code=status,
            summary=summary,
            include_in_schema=one != path,
            openapi_extra=described(takes),
        )
