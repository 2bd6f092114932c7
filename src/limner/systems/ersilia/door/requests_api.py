"""``/api/v1/requests``: a file of molecules is uploaded, predicted by a job, and answered by files."""

from datetime import timedelta
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from limner.api.answers import answer
from limner.api.auth import Caller, needs
from limner.api.problems import Refused
from limner.api.schemas import model_of
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.errors import NotFound
from limner.systems.ersilia.door.finishing import Finishing
from limner.systems.ersilia.door.on_request import predict_file, wish_of
from limner.systems.ersilia.door.request_folder import ASIDE, FileMade, Requests, UploadRequest
from limner.systems.ersilia.door.signed import Signed
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.pipeline import NAME, PREDICT

#: Bytes of an uploaded file at most.
MOST_BYTES = 100_000_000
_PATH = "/api/v1/requests"
Submit = Annotated[Caller, Depends(needs("submit"))]
Read = Annotated[Caller, Depends(needs("read"))]
RequestId = Annotated[str, Path(max_length=100, description="Id of a request.")]


class RequestBody(BaseModel):
    """What a file is to be uploaded for."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    format: Literal["csv"] = "csv"


class Opened(Struct, frozen=True, kw_only=True):
    """A request that waits for its file."""

    request: str
    #: The file is put here, without a token.
    upload_url: str
    #: Seconds since the epoch.
    expires: float


class Begun(Struct, frozen=True, kw_only=True):
    """The job of a request."""

    job: str
    #: Where it is watched.
    href: str


class ResultFile(Struct, frozen=True, kw_only=True):
    """One file of a result; it can be fetched without a token."""

    key: str
    url: str
    size: int


class RequestResult(Struct, frozen=True, kw_only=True):
    """The result of a request: every molecule that was asked for stands in one of the files, once."""

    files: list[ResultFile]
    #: Molecules with predictions.
    answered: int
    #: Rows without, and the file that says why.
    missing: int
    set_aside: ResultFile | None


def router(projects: Projects, tables: Tables, *, finishing: Finishing, days: float) -> APIRouter:
    """The routes; a request holds for so many *days*."""
    made = APIRouter(prefix=_PATH, tags=["ersilia"])
    door = _Door(projects, tables, finishing=finishing, lifetime=timedelta(days=days))
    put = {"requestBody": {"content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}}}
    made.add_api_route(
        "",
        door.open,
        methods=["POST"],
        status_code=201,
        summary="Ask for a place to put a file",
        responses={201: {"model": model_of(Opened)}},
    )
    made.add_api_route(
        "/{request}/upload", door.upload, methods=["PUT"], status_code=204, summary="Put the file", openapi_extra=put
    )
    made.add_api_route(
        "/{request}:run",
        door.run,
        methods=["POST"],
        status_code=202,
        summary="Predict its molecules",
        responses={202: {"model": model_of(Begun)}},
    )
    made.add_api_route(
        "/{request}/result",
        door.result,
        methods=["GET"],
        summary="The files of the result",
        responses={200: {"model": model_of(RequestResult)}},
    )
    made.add_api_route(
        "/{request}/files/{key}",
        door.file,
        methods=["GET"],
        summary="One file of the result",
        response_class=FileResponse,
    )
    return made


class _Door:
    """What the routes do."""

    def __init__(self, projects: Projects, tables: Tables, *, finishing: Finishing, lifetime: timedelta) -> None:
        self._tables = tables
        self._finishing = finishing
        self._lifetime = lifetime
        self._signed = Signed(projects)

    def open(self, asked: Request, body: RequestBody, caller: Submit) -> Response:
        """Ask for a place to put a file of molecules."""
        check_model(caller.host, body.model)
        opened = Requests(caller.host).make(body.model, lifetime=self._lifetime)
        url = self._signed.url(asked, caller.host, f"{_PATH}/{opened.id}/upload", expires=opened.expires)
        return answer(Opened(request=opened.id, upload_url=url, expires=opened.expires), status=201)

    async def upload(self, asked: Request, request: RequestId) -> Response:
        """Put the file: ``key,input`` or ``smiles``, with a header or without."""
        requests = Requests(await run_in_threadpool(self._host_of, asked, "submit"))
        found = await run_in_threadpool(requests.get, request)
        if found.job is not None:
            raise Refused(409, f"Request {request} runs already; make another for another file.")
        draft = requests.draft(found)
        try:
            await _spool(asked, draft)
            await run_in_threadpool(requests.put, found, draft)
        finally:
            draft.unlink(missing_ok=True)
        return Response(status_code=204)

    def run(self, request: RequestId, caller: Submit) -> Response:
        """Make the job that predicts the molecules of the file; asked again, the same job."""
        requests = Requests(caller.host)
        found = requests.get(request)
        job = found.job or begin(caller.host, found, self._tables, self._finishing)
        return answer(Begun(job=job, href=f"/api/v1/jobs/{job}"), status=202)

    def result(self, asked: Request, request: RequestId, caller: Read) -> Response:
        """The files of the result, once the job has ended."""
        found = Requests(caller.host).get(request)
        if found.files is None:
            told = f"its job {found.job} has not ended" if found.job else "it has no job yet; POST …:run makes it"
            raise Refused(409, f"Request {request} has no result: {told}.", headers={"retry-after": "1"})

        files = {made.key: linked(made, found, caller.host, asked=asked, signed=self._signed) for made in found.files}
        aside = files.pop(ASIDE, None)
        made = RequestResult(
            files=list(files.values()), answered=found.answered, missing=found.missing, set_aside=aside
        )
        return answer(made)

    def file(self, asked: Request, request: RequestId, key: Annotated[str, Path(max_length=100)]) -> Response:
        """One file of the result: gzip, CSV with a header."""
        requests = Requests(self._host_of(asked, "read"))
        return FileResponse(requests.file(requests.get(request), key), media_type="application/gzip", filename=key)

    def _host_of(self, asked: Request, scope: str) -> Host:
        """The project of whoever has a signed link, or a token with *scope*."""
        return self._signed.host(asked) if "signature" in asked.query_params else needs(scope)(asked).host


def check_model(host: Host, model: str) -> None:
    """
    Nothing where there is such a model.

    Raises:
        NotFound: there is none.
    """
    known = host.pipeline(NAME).stage(PREDICT).implementations
    if model not in known:
        raise NotFound(f"There is no model {model}; known are: {', '.join(known)}.")


def linked(made: FileMade, of: UploadRequest, host: Host, *, asked: Request, signed: Signed) -> ResultFile:
    """One file of a request's result with its link."""
    path = f"{_PATH}/{of.id}/files/{made.key}"
    return ResultFile(key=made.key, url=signed.url(asked, host, path, expires=of.expires), size=made.size)


def begin(host: Host, request: UploadRequest, tables: Tables, finishing: Finishing) -> str:
    """
    Make the job of a request that has none yet, and say which.

    Raises:
        Refused: it has no file yet.
    """
    requests = Requests(host)
    if request.uploaded is None:
        raise Refused(409, f"Request {request.id} has no file yet; put it to its upload_url.")
    job = predict_file(host, tables, model=request.model, file=requests.upload(request), request=request.id)
    wish = wish_of(job)
    assert wish is not None, "it was made with one"
    columns = tuple(column.name for column in wish.release.columns)
    requests.keep(structs.replace(request, job=job.id, columns=columns))
    finishing.watch(host, job)
    return job.id


async def _spool(request: Request, draft: FilePath) -> None:
    """Write the body to a file, as it comes."""
    size = 0
    with draft.open("wb") as out:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MOST_BYTES:
                raise Refused(413, f"The file has more than {MOST_BYTES:,} bytes; send it in several requests.")
            await run_in_threadpool(out.write, chunk)
