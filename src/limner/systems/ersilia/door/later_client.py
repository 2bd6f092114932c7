"""The routes that the hub's later client calls: a facade over requests that bring a file."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.types import Message, Receive

from limner.api.answers import answer
from limner.api.auth import Caller
from limner.api.problems import Refused
from limner.api.schemas import model_of
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.domain.jobs import Job, JobState
from limner.errors import NotFound, UsageError
from limner.systems.ersilia.door.facade import caller_by_key
from limner.systems.ersilia.door.finishing import Finishing
from limner.systems.ersilia.door.request_folder import ASIDE, Kind, Requests, UploadRequest
from limner.systems.ersilia.door.requests_api import MOST_BYTES, ResultFile, begin, check_model, linked
from limner.systems.ersilia.door.signed import Signed
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.predictions.sql import SqlPredictions

_TAG = "ersilia, as the later client"
_UPLOAD = "/upload-destination"
#: What a form has around its file, in bytes.
_FRAME = 100_000
_PIECE = 1 << 20
_Id = Annotated[str, Query(min_length=1, max_length=200)]


class SubmitBody(BaseModel):
    """What a client wants to have: the molecules of its file, or what is stored of a model."""

    model_config = ConfigDict(extra="ignore")

    request: str | None = Field(default=None, alias="requestid", max_length=200)
    model: str = Field(alias="modelid", min_length=1, max_length=200)
    fetch: Literal["all", "filter"] = Field(alias="fetchtype", description="`filter`: the molecules of the file.")
    samples: int = Field(default=-1, alias="nsamples", description="Of `all`: so many molecules; below 1, every one.")


class Destination(Struct, frozen=True, kw_only=True):
    """Where a file is put, as a form of these fields and the file."""

    url: str
    fields: Mapping[str, str]


class Submitted(Struct, frozen=True, kw_only=True):
    """What is asked after from now on."""

    jobId: str


class Standing(Struct, frozen=True, kw_only=True):
    """Where it stands: ``PENDING``, ``RUNNING``, ``SUCCEEDED`` or ``FAILED``."""

    status: str
    errorMessage: str | None = None


class Shards(Struct, frozen=True, kw_only=True):
    """The files of a result."""

    files: list[ResultFile]


def router(projects: Projects, tables: Tables, *, finishing: Finishing, days: float) -> APIRouter:
    """The routes; what is asked for is kept for so many *days*."""
    made = APIRouter(tags=[_TAG])
    door = _Door(projects, tables, finishing=finishing, lifetime=timedelta(days=days))
    form = {"type": "object", "properties": {"key": {"type": "string"}, "file": {"type": "string", "format": "binary"}}}
    content = {"requestBody": {"content": {"multipart/form-data": {"schema": form}}}}
    for path, method, does, summary, told in (
        (_UPLOAD, "GET", door.destination, "Where a file is put", Destination),
        ("/submit", "POST", door.submit, "Predict the file's molecules, or fetch what is stored", Submitted),
        ("/status", "GET", door.status, "Where it stands", Standing),
        ("/result", "GET", door.result, "The files of the result, without header", Shards),
    ):
        made.add_api_route(path, does, methods=[method], summary=summary, responses={200: {"model": model_of(told)}})
    made.add_api_route(
        f"{_UPLOAD}/{{request}}",
        door.upload,
        methods=["POST"],
        status_code=204,
        summary="Put the file, as a form",
        openapi_extra=content,
    )
    return made


def _by_key(scope: str) -> Callable[[Request], Caller]:
    def caller(request: Request) -> Caller:
        return caller_by_key(request, scope=scope)

    return caller


_Submit = Annotated[Caller, Depends(_by_key("submit"))]
_Read = Annotated[Caller, Depends(_by_key("read"))]


class _Door:
    """What the routes do."""

    def __init__(self, projects: Projects, tables: Tables, *, finishing: Finishing, lifetime: timedelta) -> None:
        self._tables = tables
        self._finishing = finishing
        self._lifetime = lifetime
        self._signed = Signed(projects)

    def destination(self, asked: Request, caller: _Submit, modelid: _Id, requestid: _Id) -> Response:
        """Where the molecules of a request are put, whose id is the client's; asked again, the same place."""
        check_model(caller.host, modelid)
        requests, own = Requests(caller.host), _own(requestid)
        try:
            found = requests.get(own)
        except NotFound:
            found = requests.make(modelid, lifetime=self._lifetime, identity=own, kind=Kind.FILTER)
        if found.model != modelid:
            raise Refused(409, f"Request {requestid} is one of model {found.model}.")
        url = self._signed.url(asked, caller.host, f"{_UPLOAD}/{own}", expires=found.expires)
        return answer(Destination(url=url, fields={"key": own}))

    async def upload(self, asked: Request, request: Annotated[str, Path(max_length=100)]) -> Response:
        """Put the file: a form with the fields that were told, and the file, with a header or without."""
        # Whoever may not is refused before a byte of the file is read.
        requests = Requests(await run_in_threadpool(self._signed.host, asked))
        found = await run_in_threadpool(requests.get, request)
        if found.job is not None:
            raise Refused(409, f"Request {request} runs already; make another for another file.")
        draft = requests.draft(found)
        try:
            async with Request(asked.scope, _bounded(asked)).form(max_files=1, max_fields=20) as form:
                files = [part for part in form.values() if isinstance(part, UploadFile)]
                if form.get("key") != request or not files:
                    raise Refused(422, "The form needs the fields that were told with its address, and the file.")
                with draft.open("wb") as out:
                    while piece := await files[0].read(_PIECE):
                        await run_in_threadpool(out.write, piece)
            await run_in_threadpool(requests.put, found, draft)
        finally:
            draft.unlink(missing_ok=True)
        return Response(status_code=204)

    def submit(self, body: SubmitBody, caller: _Submit) -> Response:
        """Make the job of a file, or have all that is stored written; asked again for a file, the same."""
        check_model(caller.host, body.model)
        told = self._all(caller.host, body) if body.fetch == "all" else self._filter(caller.host, body)
        return answer(Submitted(jobId=told.id))

    def status(self, caller: _Read, jobId: _Id) -> Response:
        """Where it stands; what is published is there to be fetched."""
        return answer(_standing(caller.host, Requests(caller.host).get(jobId)))

    def result(self, asked: Request, caller: _Read, jobId: _Id) -> Response:
        """The files of the result: gzip, CSV without header."""
        found = Requests(caller.host).get(jobId)
        if found.files is None:
            raise Refused(409, f"There is no result of {jobId} yet.", headers={"retry-after": "1"})
        # The client would take the file of what could not be predicted for predictions.
        files = [made for made in found.files if made.key != ASIDE]
        told = [linked(one, found, caller.host, asked=asked, signed=self._signed) for one in files]
        return answer(Shards(files=told))

    def _filter(self, host: Host, body: SubmitBody) -> UploadRequest:
        if body.request is None:
            raise Refused(422, "requestid: the request whose file was put is needed.")
        found = Requests(host).get(_own(body.request))
        if found.model != body.model:
            raise Refused(409, f"Request {body.request} is one of model {found.model}.")
        if found.job is None:
            begin(host, found, self._tables, self._finishing)
        return found

    def _all(self, host: Host, body: SubmitBody) -> UploadRequest:
        table = self._tables.of(host)
        if not isinstance(table, SqlPredictions):
            raise UsageError(f"The {table.describe()} can be asked for keys only; put the molecules into a file.")
        if self._tables.shelf(host, body.model) is None:
            raise NotFound(f"Nothing is stored of {body.model} yet.")
        most = max(0, body.samples)
        made = Requests(host).make(body.model, lifetime=self._lifetime, kind=Kind.ALL, most=most)
        self._finishing.answer_whole(host, made)
        return made


def _own(request: str) -> str:
    """What a request is called here: its id is the client's, and may be anything."""
    return f"asked-{sha256(request.encode()).hexdigest()[:32]}"


def _standing(host: Host, request: UploadRequest) -> Standing:
    job = None
    if request.job is not None:
        with host.store.reading() as tx:
            job = tx.jobs.get(request.job)
    if request.files is not None:
        failed = None if job is None else _failure(request, job)
        return Standing(status="SUCCEEDED" if failed is None else "FAILED", errorMessage=failed)
    pending = job.state is JobState.WAITING if job is not None else request.kind is Kind.FILTER
    return Standing(status="PENDING" if pending else "RUNNING")


def _failure(request: UploadRequest, job: Job) -> str | None:
    """Why a request has failed whose job has ended; None where it has not."""
    if not request.answered:
        why = f"GET /api/v1/requests/{request.id}/result names the file that says why"
        return f"None of the {request.missing} molecules could be predicted; {why}."
    if job.state in (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED):
        return f"Its job {job.id} is {job.state.value}; {request.missing} molecules have no predictions."
    return None


def _bounded(request: Request) -> Receive:
    """Receives the body of *request*, and refuses one that is longer than a form with the largest file may be."""
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > MOST_BYTES + _FRAME:
            raise Refused(413, f"The file has more than {MOST_BYTES:,} bytes; send it in several requests.")
        return message

    return receive
