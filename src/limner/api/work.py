"""The routes of far workers: who they are, tasks out, answers in."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, structs
from starlette.responses import Response

from limner.api import artifacts
from limner.api.auth import Caller, needs
from limner.api.bodies import answered, body_of, decoded, described, kind_of
from limner.api.problems import Refused
from limner.app.handing_out import check_hands_out, check_takes_in
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.work_desk import WorkDesk
from limner.app.work_said import BeatAnswer, HelloAnswer, LeaseAsk, LeaseState, Taken, TaskReceipt
from limner.app.work_wanted import wanted
from limner.app.work_wire import AnswerIn, TakeAsk
from limner.app.workers_view import workers_view
from limner.domain.workers import Beat, Hello, Told
from limner.errors import NotFound
from limner.server_client import MESSAGES

#: The longest that a question for tasks waits, and how often it is looked whether whoever asked is still there.
_LONGEST = 30.0
_LOOK = 1.0
#: Workers that wait for tasks at the same moment: each has a thread of its own, apart from those that answer.
_WAITING = 1000
#: Implementations that one worker serves at most.
_MOST_SERVED = 1000
_T = TypeVar("_T")
_Worker = Annotated[Caller, Depends(needs("work"))]


class LeasesAsk(Struct, frozen=True, kw_only=True):
    """Leases to be moved, or to be given back."""

    worker_id: str
    leases: list[LeaseAsk]
    #: Release: why.
    reason: str = ""


class CompleteAsk(Struct, frozen=True, kw_only=True):
    """What a worker says of tasks, or of any part of their records."""

    worker_id: str
    answers: list[AnswerIn]


class DrainAsk(Struct, frozen=True, kw_only=True):
    """Asks a worker to stop after what it has in hand."""

    worker_id: str


class _Messages(Struct, frozen=True):
    worker_id: str
    #: Lease token and encoded message of each.
    messages: list[tuple[str, bytes]]


class Desks:
    """The desk of each project, made when it is first asked for."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._made: dict[str, WorkDesk] = {}

    def of(self, host: Host) -> WorkDesk:
        """The desk of *host*; its lease tokens are the same after a restart."""
        found = self._made.get(host.name)
        if found is None:
            key = host.key.sign(f"leases of {host.name}", expires=0).encode()
            found = self._made.setdefault(host.name, WorkDesk(host, key=key, names=self._names))
        return found


class _Routes:
    """The calls of workers, each a route."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks
        self._waiting: dict[str, anyio.CapacityLimiter] = {}

    async def hello(self, request: Request, caller: _Worker) -> Response:
        """What it is to keep to, and why it is given no work of something that it named, if so."""
        await run_in_threadpool(check_hands_out, caller.host)
        said = await _said(request, self._desks.of(caller.host), Hello)
        _check(said)
        seen = structs.replace(
            said, ip=request.client.host if request.client else "", client=request.headers.get("user-agent", "")[:200]
        )

        def answer() -> HelloAnswer:
            return self._desks.of(caller.host).hello(seen, scopes=caller.scopes, token_id=caller.token_id)

        return answered(request, await run_in_threadpool(answer))

    async def heartbeat(self, request: Request, caller: _Worker) -> Response:
        """Which of its tasks nobody waits for any more, and whether it is to stop after what it has in hand."""
        desk = self._desks.of(caller.host)
        said = await _said(request, desk, Beat)
        found: BeatAnswer = await run_in_threadpool(desk.heartbeat, said)
        return answered(request, found)

    async def drain(self, request: Request, caller: Annotated[Caller, Depends(needs("admin"))]) -> Response:
        """It is told with its next heartbeat, finishes what it has in hand, and stops."""
        said = await _said(request, self._desks.of(caller.host), DrainAsk)
        await run_in_threadpool(_drain, caller.host, said.worker_id)
        return answered(request, {"worker_id": said.worker_id, "drain": True})

    def workers(self, request: Request, caller: Annotated[Caller, Depends(needs("read"))]) -> Response:
        """Every worker of the last day with its liveness, and every implementation with its backlog and speed."""
        return answered(request, workers_view(caller.host.store, now=caller.host.clock.now()))

    def implementations(self, request: Request, caller: _Worker) -> Response:
        """By implementation: inferrer, parameters, model, inputs, outputs, and the version that is served."""
        check_hands_out(caller.host)
        return answered(request, {"implementations": wanted(caller.host)})

    async def take(self, request: Request, caller: _Worker) -> Response:
        """Up to so many tasks, as soon as there is one; an empty list after `wait_s` (at most 30)."""
        await run_in_threadpool(check_hands_out, caller.host)
        desk = self._desks.of(caller.host)
        ask = await _said(request, desk, TakeAsk)
        limiter = self._waiting.setdefault("takes", anyio.CapacityLimiter(_WAITING))
        taken, told = await _take(request, desk, ask, caller, limiter=limiter)
        if MESSAGES in request.headers.get("accept", ""):
            tasks = [(one.topic, one.token, one.body) for one in taken.tasks]
            return answered(request, {"tasks": tasks, "told": told})
        base = str(request.base_url).rstrip("/")
        shown = await run_in_threadpool(desk.open_form, taken, base_url=base)
        return answered(request, {"tasks": shown, "told": told})

    async def extend(self, request: Request, caller: _Worker) -> Response:
        """Where each lease stands: held, lost or cancelled, and until when it holds."""
        check_takes_in(caller.host)
        desk = self._desks.of(caller.host)
        said = await _said(request, desk, LeasesAsk)
        found: list[LeaseState] = await run_in_threadpool(desk.extend, said.worker_id, said.leases)
        return answered(request, {"leases": found})

    async def complete(self, request: Request, caller: _Worker) -> Response:
        """What became of each answer, after the commit; any part of a task's records may be sent."""
        check_takes_in(caller.host)
        desk = self._desks.of(caller.host)
        if kind_of(request) == MESSAGES:
            return await _heard(request, desk)
        said = await _said(request, desk, CompleteAsk)
        found: list[TaskReceipt] = await run_in_threadpool(desk.complete, said.worker_id, said.answers)
        return answered(request, {"tasks": found})

    async def release(self, request: Request, caller: _Worker) -> Response:
        """How many leases were given back; no attempt is charged."""
        check_takes_in(caller.host)
        desk = self._desks.of(caller.host)
        if kind_of(request) == MESSAGES:
            return await _heard(request, desk)
        said = await _said(request, desk, LeasesAsk)
        count = await run_in_threadpool(lambda: desk.release(said.worker_id, said.leases, reason=said.reason))
        return answered(request, {"released": count})


def router(projects: Projects) -> APIRouter:
    """The routes of workers, and those of the artifacts that they fetch and hand in."""
    systems = projects.root.declared.systems.values()
    routes = _Routes(Desks({name: stage for system in systems for name, stage in system.stage_names.items()}))
    made = APIRouter(prefix="/api/v1", tags=["workers"])
    made.post("/workers:hello", openapi_extra=described(Hello), summary="A worker introduces itself")(routes.hello)
    made.post("/workers:heartbeat", openapi_extra=described(Beat), summary="A worker lives")(routes.heartbeat)
    made.post("/workers:drain", openapi_extra=described(DrainAsk), summary="Ask a worker to stop")(routes.drain)
    made.get("/workers", summary="Workers, and who serves what")(routes.workers)
    asked = APIRouter(prefix="/work")
    asked.get("/implementations", summary="What the pipelines want served")(routes.implementations)
    made.include_router(asked)
    made.post("/tasks:take", openapi_extra=described(TakeAsk), summary="Ask for tasks")(routes.take)
    made.post("/tasks:extend", openapi_extra=described(LeasesAsk), summary="Move leases")(routes.extend)
    made.post("/tasks:complete", openapi_extra=described(CompleteAsk, messages=True), summary="Hand in results")(
        routes.complete
    )
    made.post("/tasks:release", openapi_extra=described(LeasesAsk, messages=True), summary="Give tasks back")(
        routes.release
    )
    both = APIRouter()
    both.include_router(made)
    both.include_router(artifacts.router(projects))
    return both


async def _take(
    request: Request, desk: WorkDesk, ask: TakeAsk, caller: Caller, *, limiter: anyio.CapacityLimiter
) -> tuple[Taken, list[Told]]:
    """Wait for tasks, a second at a time; what was taken for somebody who has hung up is put back."""
    ends = time.monotonic() + min(max(ask.wait_s, 0.0), _LONGEST)
    while True:
        left = max(0.0, ends - time.monotonic())
        wait = timedelta(seconds=min(left, _LOOK))
        taken, told = await anyio.to_thread.run_sync(_look, desk, ask, caller.scopes, wait, limiter=limiter)
        gone = await request.is_disconnected()
        if gone and taken.tasks:
            await run_in_threadpool(desk.put_back, ask.worker_id, taken)
        if taken.tasks or gone or time.monotonic() >= ends:
            return taken, told


def _look(desk: WorkDesk, ask: TakeAsk, scopes: frozenset[str], wait: timedelta) -> tuple[Taken, list[Told]]:
    """Look for tasks once, for so long; a version may have moved since the last look."""
    admission = desk.admit(ask, scopes=scopes)
    if admission.versions:
        return desk.take(ask, admission, wait=wait), list(admission.told)
    time.sleep(wait.total_seconds())
    return Taken(tasks=[]), list(admission.told)


async def _said(request: Request, desk: WorkDesk, type: type[_T]) -> _T:
    """The body of a call as a noun."""
    body = await body_of(request, max_body_bytes=desk.max_body_bytes)
    return decoded(body, kind=kind_of(request), type=type)


async def _heard(request: Request, desk: WorkDesk) -> Response:
    """Commit messages of Limner's own workers."""
    body = await body_of(request, max_body_bytes=desk.max_body_bytes)
    said = decoded(body, kind=MESSAGES, type=_Messages)
    receipts = await run_in_threadpool(desk.hear, said.worker_id, said.messages)
    return answered(request, {"tasks": receipts})


def _drain(host: Host, worker: str) -> None:
    with host.store.transaction() as tx:
        if not tx.workers.drain(worker):
            raise NotFound(f"No worker {worker} is known here; GET /api/v1/workers lists them.")


def _check(said: Hello) -> None:
    """Refuse a name that could not be shown, and more implementations than anybody serves."""
    if not 0 < len(said.worker_id) <= 200 or not said.worker_id.isprintable():
        raise Refused(422, "worker_id: a name of 1 to 200 printable characters is needed.")
    if len(said.serves) > _MOST_SERVED:
        raise Refused(422, f"serves: a worker serves {_MOST_SERVED} implementations at most.")
