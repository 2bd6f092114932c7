"""Whether the server lives and can work, and its figures for Prometheus."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from limner.api.metrics import CONTENT_TYPE, metrics_of
from limner.api.problems import problem
from limner.errors import LimnerError


def router() -> APIRouter:
    """The routes; they need no token and tell nothing of any record."""
    made = APIRouter(tags=["health"])
    made.add_api_route("/healthz", healthz, methods=["GET"], summary="Whether the process lives")
    made.add_api_route("/readyz", readyz, methods=["GET"], summary="Whether the store can be reached")
    made.add_api_route(
        "/metrics", metrics, methods=["GET"], summary="Figures for Prometheus", response_class=PlainTextResponse
    )
    return made


async def healthz() -> Response:
    """It lives: answered on the event loop, which nothing that takes long ever holds."""
    return JSONResponse({"status": "healthy"})


async def readyz(request: Request) -> Response:
    """
    It can work: the store answers.

    A bus in trouble is told and does not count: jobs are taken in and answers are given all the same. What the trouble
    is says ``limner doctor``, since this route needs no token.
    """

    def look() -> bool:
        with request.app.state.projects.root.store.reading() as tx:
            tx.journal.last()
        return bool(request.app.state.projects.in_trouble())

    try:
        trouble = await run_in_threadpool(look)
    except LimnerError as error:
        return problem(503, str(error))
    return JSONResponse({"status": "ready", "bus": "trouble" if trouble else "well"})


async def metrics(request: Request) -> Response:
    """The figures, computed now."""
    text = await run_in_threadpool(lambda: metrics_of(request.app.state.projects))
    return Response(text, media_type=CONTENT_TYPE)
