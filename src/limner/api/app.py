"""The HTTP application: every router on one FastAPI, with the two hot routes in front of it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from limner import __version__
from limner.api import health, hot, inference, jobs, models, overview, problems, records, search, work
from limner.api.auth import Auth, needs
from limner.api.bounds import Bounds
from limner.api.doors import Doors
from limner.api.lookups import LookUpDesks
from limner.api.mailbox import Mailbox
from limner.api.schemas import Problem
from limner.app.declared import load_target
from limner.app.projects import Projects
from limner.domain.tasks import Outcome
from limner.errors import ConfigurationError

_ABOUT = """\
Keeps everything that models can infer about a collection complete, current, explainable and searchable.

Send a token as `Authorization: Bearer TOKEN` (`limner token create`); as long as none exists none is needed, and the
server listens on the loopback address only. What goes wrong is told as problem details (RFC 9457). Listings come in
pages: `next` of one page is `after` of the following.
"""
_PROBLEM: dict[str, object] = {
    "description": "What went wrong",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
#: Where files are put.
_STREAMED = ("/api/v1/artifacts/", "/api/v1/requests/")
#: What a request may be refused with.
STATUSES = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503, 504)


class Server(FastAPI):
    """FastAPI behind the bounds; requests that come by the thousand a second go past its router."""

    def __init__(self, projects: Projects, doors: Doors, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # FastAPI's own options
        self.state.mailbox = Mailbox[list[Outcome]]()
        self.state.lookups = LookUpDesks()
        self._hot = hot.Hot(mailbox=self.state.mailbox, lookups=self.state.lookups)
        settings = projects.project.settings
        self._bounds = Bounds(self._inner, max_bytes=settings.max_request_bytes, unbounded=_unbounded)
        self.state.projects = projects
        self.state.doors = doors

    def openapi(self) -> dict[str, object]:
        """The OpenAPI document, with the one schema of all problems."""
        document: dict[str, Any] = super().openapi()
        document["components"]["schemas"].setdefault("Problem", Problem.model_json_schema())
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the application."""
        scope["app"] = self
        if scope["type"] == "http":
            await self._bounds(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._hot.handler(scope)
        if handler is None:
            await super().__call__(scope, receive, send)
        else:
            await handler(self.state.auth, scope, receive, send)


def create(projects: Projects, *, public: bool = False) -> FastAPI:
    """
    The application over *projects*, which whoever calls starts and stops.

    *public*: it is served at an address that others than this machine reach, so requests are counted.

    Raises:
        ConfigurationError: the setting ``facades`` names a system that brings no routes.
    """
    settings = projects.project.settings
    doors = Doors(window=timedelta(milliseconds=settings.online_window))
    app = Server(
        projects,
        doors,
        title="Limner",
        version=__version__,
        description=_ABOUT,
        lifespan=_lifespan(doors),
        redirect_slashes=False,
        responses=dict.fromkeys(STATUSES, _PROBLEM),
    )
    app.state.auth = Auth(
        projects,
        online=doors.of,
        rate=settings.rate_limit if public else 0.0,
        anonymous=frozenset({"infer"}) if settings.anonymous_infer else frozenset(),
    )
    problems.install(app)
    api = APIRouter(prefix="/api/v1")
    for router in (
        records.router(),
        search.router(),
        jobs.router(),
        models.router(),
        overview.router(),
    ):
        api.include_router(router)
    app.include_router(api)
    app.include_router(work.router(projects))
    app.include_router(inference.router())
    app.include_router(health.router())
    for router in _facades(projects):
        app.include_router(router)
    return app


def _lifespan(doors: Doors) -> Callable[[FastAPI], "object"]:
    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        doors.close()

    return living


def _facades(projects: Projects) -> list[APIRouter]:
    """The routes that systems bring: of those the settings name, or of those whose pipelines the project declares."""
    declared = projects.root.declared
    named = projects.project.settings.facades
    if named is None:
        # A system whose pipeline the project declares under its own name is in use.
        own = set(declared.own or declared.pipelines)
        brought = {s.name: {*(p.name for p in s.pipelines), *s.makers} for s in declared.systems.values() if s.routes}
        named = [name for name, pipelines in brought.items() if own & pipelines]
    systems = declared.systems.values()
    known = {system.name: system.routes for system in systems if system.routes}
    known |= {name: target for system in systems for name, target in system.more_routes.items()}
    return [_facade(name, known, projects) for name in named]


def _facade(name: str, known: Mapping[str, str], projects: Projects) -> APIRouter:
    if name not in known:
        names = ", ".join(known) or "none"
        raise ConfigurationError(f"The setting `facades` names {name}, which brings no routes; known are: {names}")
    make = load_target(known[name])
    if not callable(make):
        raise ConfigurationError(f"{known[name]} is no function.")
    router = make(projects, needs)
    if not isinstance(router, APIRouter):
        raise ConfigurationError(f"{known[name]} makes no APIRouter.")
    return router


def _unbounded(scope: Scope) -> bool:
    """Whether a request's body is read a piece at a time into a file, under limits of its own."""
    return bool(scope["method"] == "PUT" and scope["path"].startswith(_STREAMED))
