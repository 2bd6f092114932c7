"""The routes of a batch interface in the shape of OpenAI's: files of lines, batches of them, and their results."""

import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from limner.api.auth import Caller
from limner.api.problems import FieldError, Refused, field_path, status_of
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.submitting import Manifest, Submission
from limner.domain.jobs import Job
from limner.domain.values import Value
from limner.errors import Forbidden, IllegalMove, LimnerError, NotFound
from limner.ids import new_id
from limner.store.files import StoredFile
from limner.systems.antenna.batch_files import BatchFiles
from limner.systems.antenna.batch_lines import ENDPOINT, config_of, first_config, reader_of
from limner.systems.antenna.batch_object import DETAIL, batch_object, file_object
from limner.systems.antenna.facade_settings import antenna_settings
from limner.systems.antenna.wire import PROJECT, PipelineConfig, refused, window_of
from limner.systems.antenna.wire_stages import Step, choices_of, steps_of

Needs = Callable[[str], Callable[[Request], Caller]]
Identity = Annotated[str, InPath(min_length=1, max_length=200)]
_PIPELINE = "antenna"
_JSONL = "application/jsonl"


class BatchIn(BaseModel):
    """A batch to be made."""

    model_config = ConfigDict(strict=True)

    input_file_id: str = Field(min_length=1)
    endpoint: str = Field(description=f"Always {ENDPOINT}.")
    completion_window: str = Field("24h", description="What is not done by then expires.")
    metadata: dict[str, str] | None = Field(None, description="Given back; `projectId` and `jobId` are looked at.")


class OpenAIRoute(APIRoute):
    """A route that tells errors as OpenAI's interface does."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # a coroutine is awaitable
        """The handler, with its errors told."""
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except LimnerError as error:
                return _error(error)
            except RequestValidationError as error:
                first = error.errors()[0]
                return _told(422, str(first["msg"]), param=field_path(first["loc"]), code=None)
            except HTTPException as error:
                cause = error.__cause__
                return _error(cause) if isinstance(cause, LimnerError) else _told(error.status_code, str(error.detail))

        return told


def router(_: Projects, needs: Needs) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["batches"], prefix="/v1", route_class=OpenAIRoute)
    _add_files(made, needs)
    _add_batches(made, needs)
    return made


def _add_files(made: APIRouter, needs: Needs) -> None:
    submitting, reading = needs("submit"), needs("read")

    def upload(
        caller: Annotated[Caller, Depends(submitting)],
        file: Annotated[UploadFile, File()],
        purpose: Annotated[str, Form()],
    ) -> Response:
        """Keep a file of lines."""
        if purpose != "batch":
            raise refused(FieldError(field="purpose", message=f"{purpose[:40]!r} is not taken here; send batch."))
        return JSONResponse(file_object(_kept(caller.host, file)))

    def one(file_id: Identity, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """What is known of a file."""
        with caller.host.store.reading() as tx:
            return JSONResponse(file_object(tx.files.get(file_id)))

    def content(file_id: Identity, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """The bytes of a file."""
        with caller.host.store.reading() as tx:
            file = tx.files.get(file_id)
        return FileResponse(caller.host.app.artifacts.path(file.sha256), media_type=_JSONL, filename=file.name)

    made.add_api_route("/files", upload, methods=["POST"], summary="Send a file of lines")
    made.add_api_route("/files/{file_id}", one, methods=["GET"], summary="A file")
    made.add_api_route("/files/{file_id}/content", content, methods=["GET"], summary="The bytes of a file")


def _add_batches(made: APIRouter, needs: Needs) -> None:
    submitting, reading = needs("submit"), needs("read")
    files = BatchFiles()

    def create(body: BatchIn, caller: Annotated[Caller, Depends(submitting)]) -> Response:
        """Have every line of a file done."""
        return _shown(caller, _submitted(caller, body).id, files)

    def listing(
        caller: Annotated[Caller, Depends(reading)],
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        """Batches, the newest first."""
        jobs, more = _listed(caller.host, after=after, limit=limit)
        for job in jobs:
            files.see_to(caller.host, job)
        with caller.host.store.reading() as tx:
            data = [batch_object(tx, job) for job in jobs]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return JSONResponse({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})

    def one(batch_id: Identity, caller: Annotated[Caller, Depends(reading)]) -> Response:
        """Where a batch stands."""
        return _shown(caller, batch_id, files)

    def cancel(batch_id: Identity, caller: Annotated[Caller, Depends(submitting)]) -> Response:
        """Stop a batch; what was finished is in its files."""
        job = _job(caller.host, batch_id)
        if job.state.ended:
            raise IllegalMove(f"Batch {batch_id} has ended, so it cannot be cancelled.")
        caller.host.cancel(batch_id)
        return _shown(caller, batch_id, files)

    made.add_api_route("/batches", create, methods=["POST"], summary="Make a batch")
    made.add_api_route("/batches", listing, methods=["GET"], summary="Batches, the newest first")
    made.add_api_route("/batches/{batch_id}", one, methods=["GET"], summary="Where a batch stands")
    made.add_api_route("/batches/{batch_id}/cancel", cancel, methods=["POST"], summary="Stop a batch")


def _kept(host: Host, file: UploadFile) -> StoredFile:
    """*file* among the artifacts, and its row."""
    now = host.clock.now()
    with tempfile.NamedTemporaryFile(prefix="limner-upload-") as spool:
        shutil.copyfileobj(file.file, spool, 1 << 20)
        spool.flush()
        path = Path(spool.name)
        made = StoredFile(
            id=new_id("file", now=now),
            name=file.filename or "batch.jsonl",
            purpose="batch",
            sha256=host.app.artifacts.put_file(path),
            size=path.stat().st_size,
            created=now,
        )
    with host.lock, host.store.transaction() as tx:
        tx.files.add(made)
    return made


def _submitted(caller: Caller, body: BatchIn) -> Job:
    """Make the job of a batch."""
    host, metadata = caller.host, dict(body.metadata or {})
    if body.endpoint != ENDPOINT:
        raise refused(FieldError(field="endpoint", message=f"{body.endpoint[:80]!r} is not done here; use {ENDPOINT}."))
    try:
        window = window_of(body.completion_window)
    except ValueError as error:
        raise refused(FieldError(field="completion_window", message=str(error))) from error
    project = _project(caller, metadata.get("projectId", caller.project))
    with host.store.reading() as tx:
        given = tx.files.get(body.input_file_id)
    with host.app.artifacts.path(given.sha256).open("rb") as lines:
        found = first_config(lines)
    steps = [] if found is None else _steps(host, *found)
    config = "" if found is None else config_of(found[1])
    ask = Submission(
        pipeline=_PIPELINE,
        manifest=Manifest(sha256=given.sha256, reader=reader_of(project, config=config)),
        choices=choices_of(steps, host.pipeline(_PIPELINE), given=True),
        expires_in=window,
        detail=_detail(body, steps, project=project, config=config, metadata=metadata),
    )
    return host.submit(ask)


def _detail(
    body: BatchIn, steps: list[Step], *, project: str, config: str, metadata: dict[str, str]
) -> dict[str, Value]:
    asked = [{"stage": step.stage, "implementation": step.implementation, "asked": step.asked} for step in steps]
    return {
        "antenna": {"project_id": project, "job_id": metadata.get("jobId", body.input_file_id), "steps": asked},
        DETAIL: {
            "input_file_id": body.input_file_id,
            "endpoint": body.endpoint,
            "completion_window": body.completion_window,
            "metadata": body.metadata,
            "config": config,
        },
    }


def _steps(host: Host, row: int, config: PipelineConfig) -> list[Step]:
    aliases = antenna_settings(host.app.settings).aliases
    try:
        return steps_of(config.stages, host.pipeline(_PIPELINE), aliases=aliases, boxes_given=True)
    except Refused as error:
        errors = [FieldError(field=f"line {row}: body.{one.field}", message=one.message) for one in error.errors]
        raise refused(*errors, code=error.code) from error


def _project(caller: Caller, project: str) -> str:
    if not re.fullmatch(PROJECT, project):
        raise refused(FieldError(field="metadata.projectId", message=f"No project can be called {project[:80]!r}."))
    if caller.project not in ("default", project):
        raise Forbidden(f"The token is for the project {caller.project}, and this is for {project}.")
    return project


def _shown(caller: Caller, identity: str, files: BatchFiles) -> Response:
    job = _job(caller.host, identity)
    files.see_to(caller.host, job)
    with caller.host.store.reading() as tx:
        return JSONResponse(batch_object(tx, tx.jobs.get(identity)))


def _job(host: Host, identity: str) -> Job:
    with host.store.reading() as tx:
        if tx.jobs.exists(identity) and DETAIL in (job := tx.jobs.get(identity)).detail:
            return job
    raise NotFound(f"There is no batch {identity}.")


def _listed(host: Host, *, after: str | None, limit: int) -> tuple[list[Job], bool]:
    """A page of batches, and whether more follow."""
    found: list[Job] = []
    with host.store.reading() as tx:
        before = None
        if after is not None:
            job = tx.jobs.get(after)
            before = (job.created, job.id)
        while len(found) <= limit:
            page = tx.progress.jobs(before=before, limit=200, pipeline=_PIPELINE)
            found += [job for job in page if DETAIL in job.detail]
            if len(page) < 200:
                break
            before = (page[-1].created, page[-1].id)
    return found[:limit], len(found) > limit


def _error(error: LimnerError) -> Response:
    refusal = error if isinstance(error, Refused) else None
    fields = refusal.errors if refusal else []
    return _told(
        refusal.status if refusal else status_of(error),
        fields[0].message if fields else str(error),
        param=fields[0].field if fields else None,
        code=refusal.code if refusal else None,
    )


def _told(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": body}, status_code=status)
