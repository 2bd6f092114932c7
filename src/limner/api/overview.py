"""Where things stand: pipelines, plans, what failed, and the list of failure codes."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from msgspec import Struct, field
from starlette.responses import Response

from limner.api.answers import answer, paged
from limner.api.auth import Caller, needs
from limner.api.schemas import model_of, page_of
from limner.app.failed import FailureRow
from limner.app.status import PipelineStatus, pipeline_status
from limner.domain.failures import FailureCode
from limner.domain.pipelines import Pipeline, Stage
from limner.domain.retry import default_attempts
from limner.engine.estimate import Plan

Read = Annotated[Caller, Depends(needs("read"))]
PipelineName = Annotated[str, Path(description="Name of a pipeline.", min_length=1, max_length=200)]


class StageView(Struct, frozen=True, kw_only=True):
    """A stage as it is declared."""

    name: str
    kind: str
    #: Collection of the records that it says something about.
    over: str
    implementations: Sequence[str]
    default: str
    #: By input: what is read.
    reads: Mapping[str, str]
    #: By output: its kind.
    outputs: Mapping[str, str]
    required: bool
    batch: int
    #: Seconds that one call may take.
    timeout: float
    #: Why implementations of it cannot run here, by name.
    problems: Mapping[str, str] = field(default_factory=dict)


class PipelineView(Struct, frozen=True, kw_only=True):
    """A pipeline as it is declared."""

    name: str
    about: str
    collection: str
    standing: bool
    stages: Sequence[StageView]


class Code(Struct, frozen=True, kw_only=True):
    """A failure code."""

    code: str
    #: Attempts in all that records have by default, the first included.
    attempts: int


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["overview"])
    reading = (
        ("/pipelines", pipelines, "The pipelines", page_of(PipelineView)),
        ("/pipelines/{pipeline}", pipeline, "One pipeline", model_of(PipelineView)),
        ("/pipelines/{pipeline}/plan", plan, "What a run would compute, why, and about how long", model_of(Plan)),
        ("/status", status, "Where the pipelines stand", page_of(PipelineStatus)),
        ("/failures", failures, "What failed and is not mended", page_of(FailureRow)),
        ("/failures/codes", codes, "Every failure code", page_of(Code)),
    )
    for path, function, summary, model in reading:
        made.add_api_route(path, function, methods=["GET"], summary=summary, responses={200: {"model": model}})
    return made


def pipelines(caller: Read) -> Response:
    """The pipelines that this server works on."""
    return paged([_view(caller, one) for one in caller.host.pipelines.values()], None)


def pipeline(pipeline: PipelineName, caller: Read) -> Response:
    """One pipeline with its stages."""
    return answer(_view(caller, caller.host.pipeline(pipeline)))


def plan(
    pipeline: PipelineName,
    caller: Read,
    ids: Annotated[list[str] | None, Query(description="Only these records.")] = None,
    full: Annotated[bool, Query(description="Look at every record again, although no version moved.")] = False,
) -> Response:
    """What a run of the stored records would do; nothing runs."""
    return answer(caller.host.app.plan(pipeline, ids=ids, full=full))


def status(caller: Read) -> Response:
    """Where the pipelines stand, stage by stage."""
    host = caller.host
    with host.store.transaction() as tx:
        found = [pipeline_status(tx, host.engine.view(tx, name, {})) for name in host.pipelines]
    return paged(found, None)


def failures(
    caller: Read,
    job: Annotated[str | None, Query(description="Only of this job.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """What failed: of a job, or of everything that stands."""
    return paged(caller.host.app.failures(job, limit=limit), None)


def codes(caller: Read) -> Response:
    """Every failure code with how often it is tried by default; docs/failures.md explains them."""
    attempts = default_attempts()
    return paged([Code(code=code.value, attempts=attempts.get(code, 1)) for code in FailureCode], None)


def _view(caller: Caller, pipeline: Pipeline) -> PipelineView:
    known = caller.host.known.get(pipeline.name)
    problems = {} if known is None else known.problems
    return PipelineView(
        name=pipeline.name,
        about=pipeline.about,
        collection=pipeline.collection,
        standing=pipeline.standing,
        stages=[_stage(pipeline, stage, problems) for stage in pipeline.stages],
    )


def _stage(pipeline: Pipeline, stage: Stage, problems: Mapping[tuple[str, str], str]) -> StageView:
    return StageView(
        name=stage.name,
        kind=stage.kind.value,
        over=pipeline.over(stage),
        implementations=list(stage.implementations),
        default=stage.default,
        reads={name: read.path for name, read in stage.reads.items()},
        outputs={name: type(output).__name__ for name, output in stage.outputs.items()},
        required=stage.required,
        batch=stage.batch,
        timeout=stage.timeout.total_seconds(),
        problems={way: why for (name, way), why in problems.items() if name == stage.name},
    )
