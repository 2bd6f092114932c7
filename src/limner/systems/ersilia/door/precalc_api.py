"""``/api/v1/precalc``: a whole library is put through a model, and watched."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from limner.api.answers import answer, paged
from limner.api.auth import Caller, needs
from limner.api.problems import FieldError, Refused
from limner.api.schemas import model_of, page_of
from limner.app.hosting import Host
from limner.errors import AddressRefused, NotFound
from limner.systems.ersilia.door.runs import RUNNING, Run, Runs
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.pipeline import NAME, PREDICT
from limner.systems.ersilia.precalc.jobs import job_detail
from limner.systems.ersilia.precalc.nouns import Ask, Outcome, PrecalcJob

#: Where predictions may go by request of a client, besides folders of the project.
_STORES = ("s3", "dynamodb")
_PATH = "/api/v1/precalc"
Submit = Annotated[Caller, Depends(needs("submit"))]
Read = Annotated[Caller, Depends(needs("read"))]


class PrecalcBody(BaseModel):
    """What is to be calculated."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    library: str = Field(default="reference_library.csv", min_length=1, description="A path or an address.")
    sample: int | None = Field(default=None, ge=1, description="So many molecules; null is all of them.")
    workers: int = Field(default=50, ge=1, le=10_000)
    keys: KeyScheme | None = None
    to: list[str] = Field(default_factory=list, max_length=20)
    strict: bool = False
    shard_timeout: float | None = Field(default=None, gt=0, description="Seconds for one call of the model.")
    canary: bool = True


class Begun(Struct, frozen=True, kw_only=True):
    """A precalculation that has begun."""

    run: str
    #: Where it is watched.
    href: str


class Standing(Struct, frozen=True, kw_only=True):
    """Where a precalculation stands."""

    run: str
    model: str
    library: str
    sample: int | None
    #: ``running``, ``done``, ``done_with_failures``, ``stopped`` by its canary, or ``failed``.
    state: str
    #: ``identify``, ``canary`` or ``predict``; null before there is a job.
    step: str | None
    started: float
    job: str | None
    records: int
    ended: int
    #: Records of each shard; null until they are cut.
    shards: Sequence[int] | None
    #: Workers that have a shard each, numbered from 1: what a workflow starts.
    workers: Sequence[int] | None
    outcome: Outcome | None
    error: str | None


def router(runs: Runs) -> APIRouter:
    """The routes."""
    made = APIRouter(prefix=_PATH, tags=["ersilia"])

    def begin(body: PrecalcBody, caller: Submit) -> Response:
        """Put a library through a model, and publish what it predicts; returns at once."""
        run = runs.ask(caller.host, ask_of(caller.host, body))
        return answer(Begun(run=run.id, href=f"{_PATH}/{run.id}"), status=202)

    def listing(caller: Read) -> Response:
        """Precalculations that this server was asked for, the newest first."""
        return paged([standing_of(caller.host, run) for run in runs.listing(caller.host)], None)

    def one(run: Annotated[str, Path(max_length=100)], caller: Read) -> Response:
        """Where a precalculation stands, and its shards."""
        return answer(standing_of(caller.host, runs.get(caller.host, run)))

    made.add_api_route(
        "",
        begin,
        methods=["POST"],
        status_code=202,
        summary="Put a library through a model",
        responses={202: {"model": model_of(Begun)}},
    )
    made.add_api_route(
        "", listing, methods=["GET"], summary="Precalculations", responses={200: {"model": page_of(Standing)}}
    )
    made.add_api_route(
        "/{run}",
        one,
        methods=["GET"],
        summary="Where a precalculation stands",
        responses={200: {"model": model_of(Standing)}},
    )
    return made


def ask_of(host: Host, body: PrecalcBody) -> Ask:
    """
    What a client asks for, if this server does such things for clients.

    Raises:
        NotFound: there is no such model.
        Refused: it names a file or a place that clients may not name.
    """
    known = host.pipeline(NAME).stage(PREDICT).implementations
    if body.model not in known:
        raise NotFound(f"There is no model {body.model}; known are: {', '.join(known)}.")
    return Ask(
        model=body.model,
        library=_library(host, body.library),
        sample=body.sample,
        workers=body.workers,
        keys=body.keys,
        to=tuple(_place(host, place) for place in body.to),
        strict=body.strict,
        shard_timeout=None if body.shard_timeout is None else timedelta(seconds=body.shard_timeout),
        canary=body.canary,
    )


def standing_of(host: Host, run: Run) -> Standing:
    """Where a precalculation stands."""
    about = None if run.job is None else _about(host, run.job)
    cut = about is not None and (about.step == PREDICT or run.state != RUNNING)
    return Standing(
        run=run.id,
        model=run.ask.model,
        library=run.ask.library,
        sample=run.ask.sample,
        state=run.state,
        step=None if about is None else about.step,
        started=run.started,
        job=run.job,
        records=run.records,
        ended=run.ended,
        shards=about.shards if cut and about is not None else None,
        workers=list(range(1, about.workers_used + 1)) if cut and about is not None else None,
        outcome=run.outcome,
        error=run.error,
    )


def _about(host: Host, job: str) -> PrecalcJob | None:
    with host.store.reading() as tx:
        return job_detail(tx.jobs.get(job)) if tx.jobs.exists(job) else None


def _library(host: Host, spec: str) -> str:
    """A library that a client may name: below the project and the settings' roots, or behind an allowed address."""
    scheme = urlsplit(spec).scheme
    if scheme == "s3":
        return spec
    folder = host.app.project.folder
    address = spec if scheme else f"file://{(folder / spec).resolve()}"
    try:
        host.app.guard().check(address)
    except AddressRefused as error:
        raise _refused("library", str(error)) from error
    return spec if scheme not in ("", "file") else address.removeprefix("file://")


def _place(host: Host, place: str) -> str:
    """A place that a client may name: a bucket, a table, or a folder of the project."""
    if urlsplit(place).scheme in _STORES:
        return place
    folder = host.app.project.folder
    path = (folder / place.removeprefix("file://")).resolve()
    if not path.is_relative_to(folder) or path.is_relative_to(folder / ".limner"):
        raise _refused("to", f"{place} is no folder of the project; name one, or an s3:// or dynamodb:// address.")
    return str(FilePath(path))


def _refused(field: str, told: str) -> Refused:
    return Refused(422, f"The request is not right in: {field}.", errors=[FieldError(field=field, message=told)])
