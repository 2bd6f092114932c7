"""The online door over HTTP: Open Inference Protocol v2, with dynamic batching, answered at once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, field
from starlette.responses import Response

from limner import __version__
from limner.api.answers import Encoded, answer
from limner.api.auth import Caller, needs
from limner.api.mailbox import Mailbox
from limner.api.problems import FieldError, Refused, problem_of_failure
from limner.api.schemas import model_of
from limner.api.v2_wire import InferAnswer, InferRequest, Tensor, answer_of, read_request, rows_of
from limner.app.keeping import Kept, keep
from limner.app.model_facts import Metadata, metadata_of
from limner.app.online import Online
from limner.app.online_inputs import Input, without_files
from limner.app.online_target import Target
from limner.domain.tasks import Outcome

StageName = Annotated[str, Path(description="pipeline.stage, or stage where only one pipeline has it.", min_length=1)]
VersionName = Annotated[str, Path(description="Beginning of a version's digest.", min_length=4)]
Infer = Annotated[Caller, Depends(needs("infer"))]
Read = Annotated[Caller, Depends(needs("read"))]
#: Seconds beyond a stage's own limit that a request waits: for files, for its turn, and for an inferrer to load.
_PATIENCE = 300.0


class Ready(Struct, frozen=True, kw_only=True):
    """Whether a stage can be asked."""

    name: str
    ready: bool


class Server(Struct, frozen=True, kw_only=True):
    """What answers here."""

    name: str = "limner"
    version: str = __version__
    extensions: Sequence[str] = field(default_factory=lambda: ["keep", "file_by_address"])
    #: Stages that can be asked.
    models: Sequence[str] = ()


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["online"])
    reading: tuple[tuple[str, Callable[..., object], str, type[Struct]], ...] = (
        ("/v2", server, "What answers here", Server),
        ("/v2/health/live", live, "Whether it lives", Ready),
        ("/v2/health/ready", ready, "Whether it can be asked", Ready),
        ("/v2/models/{stage}", metadata, "A stage: version, inputs, outputs, model", Metadata),
        ("/v2/models/{stage}/ready", model_ready, "Whether a stage can be asked; loads its inferrer", Ready),
        ("/v2/models/{stage}/versions/{version}", version_metadata, "A version of a stage", Metadata),
        ("/v2/models/{stage}/versions/{version}/ready", version_ready, "Whether a version can be asked", Ready),
    )
    for path, function, summary, kind in reading:
        model = model_of(kind)
        made.add_api_route(path, function, methods=["GET"], summary=summary, responses={200: {"model": model}})
    asking: tuple[tuple[str, Callable[..., object]], ...] = (
        ("/v2/models/{stage}/infer", infer),
        ("/v2/models/{stage}/versions/{version}/infer", infer_version),
    )
    for path, function in asking:
        made.add_api_route(
            path,
            function,
            methods=["POST"],
            summary="Infer now",
            responses={200: {"model": model_of(InferAnswer)}},
            openapi_extra=_BODY,
        )
    return made


async def infer(request: Request, stage: StageName, caller: Infer) -> Response:
    """
    Infer some records now; nothing is stored.

    Requests that come together share a batch; one bad record fails only itself. With the parameters
    ``keep``, ``collection`` and ``id`` one record is stored like any other.
    """
    return await inferred(caller, await request.body(), stage, None, mailbox=request.app.state.mailbox)


async def infer_version(request: Request, stage: StageName, version: VersionName, caller: Infer) -> Response:
    """Infer some records now, by one version."""
    return await inferred(caller, await request.body(), stage, version, mailbox=request.app.state.mailbox)


async def inferred(
    caller: Caller, body: bytes, stage: str, version: str | None, *, mailbox: Mailbox[list[Outcome]]
) -> Response:
    """
    The answer to an inference request; outcomes come by *mailbox*, the one of the event loop.

    Raises:
        LimnerError: there is no such stage, or the request is not right.
    """
    asked = read_request(body)
    online = caller.online
    target = online.known(stage, version)
    if target is None:
        target = await run_in_threadpool(lambda: online.target(stage, version=version))
    return await _answered(caller, asked, target, stage, mailbox=mailbox)


async def _answered(
    caller: Caller, asked: InferRequest, target: Target, stage: str, *, mailbox: Mailbox[list[Outcome]]
) -> Response:
    """The answer to a request that was understood, by the stage that it is for."""
    online = caller.online
    headers = _headers(target)
    if "id" in asked.parameters and not asked.inputs:
        rows: Sequence[dict[str, Input]] = [await run_in_threadpool(lambda: _stored(online, target, asked))]
    else:
        rows = rows_of(asked, target)
        online.allow(rows)
    if asked.parameters.get("keep") or not target.servable:
        kept = await run_in_threadpool(lambda: _keep(caller, target, asked, rows))
        outcomes = [kept.outcome]
        headers["limner-job"] = kept.job
    else:
        outcomes = await _asked(online, target, rows, mailbox=mailbox)
    if len(outcomes) == 1 and outcomes[0].failure is not None:
        told = problem_of_failure(outcomes[0].failure)
        told.headers.update(headers)
        return told
    content = answer_of(asked, target, outcomes, name=stage)
    return Encoded(content, headers=[(name.encode(), value.encode()) for name, value in headers.items()])


async def _asked(
    online: Online, target: Target, rows: Sequence[dict[str, Input]], *, mailbox: Mailbox[list[Outcome]]
) -> list[Outcome]:
    """What becomes of *rows*; files are written and fetched beside the event loop."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[list[Outcome]] = loop.create_future()

    def told(outcomes: list[Outcome]) -> None:
        mailbox.put(ended, outcomes)

    if without_files(rows):
        online.ask(target, rows, told=told)
    else:
        await run_in_threadpool(lambda: online.ask(target, rows, told=told))
    late = loop.call_later(target.runtime.timeout.total_seconds() + _PATIENCE, _give_up, ended, target)
    try:
        return await ended
    finally:
        late.cancel()


def _give_up(ended: "asyncio.Future[list[Outcome]]", target: Target) -> None:
    if not ended.done():
        limit = target.runtime.timeout.total_seconds() + _PATIENCE
        ended.set_exception(Refused(504, f"{target.address} did not answer within {limit:g} s."))


def _stored(online: Online, target: Target, asked: InferRequest) -> dict[str, Input]:
    collection, identity = asked.parameters.get("collection"), asked.parameters["id"]
    if not isinstance(identity, str) or not isinstance(collection, str | None):
        raise _wrong("parameters.id", "The id and the collection of a record are text.")
    return dict(online.row_of(target, collection, identity))


def _keep(caller: Caller, target: Target, asked: InferRequest, rows: Sequence[dict[str, Input]]) -> Kept:
    """Have one record inferred by a job, and its result stored."""
    if "submit" not in caller.scopes and "admin" not in caller.scopes:
        raise Refused(403, "To keep a result needs a token with the scope submit.")
    identity, collection = asked.parameters.get("id"), asked.parameters.get("collection")
    if len(rows) != 1:
        raise _wrong("inputs", "A result is kept, or a far worker asked, one record at a time.")
    if asked.parameters.get("keep") and not isinstance(identity, str):
        raise _wrong("parameters.id", "Name the record under which the result is kept.")
    if collection is not None and collection != target.pipeline.over(target.stage):
        over = target.pipeline.over(target.stage)
        raise _wrong("parameters.collection", f"{target.address} says something about records of {over}.")
    return keep(caller.host, target, rows[0] if asked.inputs else None, identity=identity if identity else None)


async def server(caller: Read) -> Response:
    """What answers here, and which stages can be asked."""
    return answer(Server(models=caller.online.stages()))


async def live() -> Response:
    """It lives."""
    return answer(Ready(name="limner", ready=True))


def ready(caller: Read) -> Response:
    """It can be asked: the store answers, and whatever was to be loaded at the start is."""
    with caller.host.store.reading() as tx:
        tx.journal.last()
    return answer(Ready(name="limner", ready=True))


def metadata(stage: StageName, caller: Read) -> Response:
    """What a stage takes and gives, its version, and how its model prepares pictures."""
    target = caller.online.target(stage)
    return answer(metadata_of(caller.host.app, target, name=stage), headers=_headers(target))


def version_metadata(stage: StageName, version: VersionName, caller: Read) -> Response:
    """The same of one version."""
    target = caller.online.target(stage, version=version)
    return answer(metadata_of(caller.host.app, target, name=stage), headers=_headers(target))


def model_ready(stage: StageName, caller: Read) -> Response:
    """Ready once its inferrer is loaded and its model has the digest that was added; otherwise 503 says why."""
    target = caller.online.target(stage)
    if target.servable:
        caller.online.load(target)
    return answer(Ready(name=stage, ready=True), headers=_headers(target))


def version_ready(stage: StageName, version: VersionName, caller: Read) -> Response:
    """The same of one version."""
    target = caller.online.target(stage, version=version)
    if target.servable:
        caller.online.load(target)
    return answer(Ready(name=stage, ready=True), headers=_headers(target))


def _headers(target: Target) -> dict[str, str]:
    found = {"limner-version": target.version.digest}
    if target.version.model is not None:
        found["limner-model-digest"] = target.version.model.sha256
    return found


def _wrong(place: str, told: str) -> Refused:
    return Refused(422, f"The request is not right in: {place}.", errors=[FieldError(field=place, message=told)])


_EXAMPLE = msgspec.to_builtins(InferRequest(inputs=[Tensor("x", [1, 3], "FP32", [1.0, 2.0, 3.0])]))
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": model_of(InferRequest).model_json_schema(), "example": _EXAMPLE}},
    }
}
