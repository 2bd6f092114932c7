"""Collections and their records: taken in line by line, read back with where each value came from."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, field
from starlette.responses import Response

from limner.api.answers import NDJSON, Encoded, answer, lines, paged
from limner.api.auth import Caller, needs
from limner.api.lookups import LookUpDesks
from limner.api.paging import MOST, USUAL, cursor, place
from limner.api.problems import Refused
from limner.api.record_lines import RowAside, lines_of, spooled, submission
from limner.api.schemas import LookupBody, model_of, page_of
from limner.app.looking import find_record, rows_at
from limner.app.record_view import RecordView, record_at, record_of_version, rows_where
from limner.app.submitting import Submission
from limner.domain.pipelines import Pipeline
from limner.errors import NotFound

Collection = Annotated[str, Path(description="Name of a collection.", min_length=1, max_length=200)]


class CollectionView(Struct, frozen=True, kw_only=True):
    """A collection and how many live records it has."""

    name: str
    records: int
    #: Pipelines that look at its records.
    pipelines: Sequence[str] = field(default_factory=list)


class TakenIn(Struct, frozen=True, kw_only=True):
    """What became of the lines that were sent."""

    #: The job that infers what these records make stale; null where no pipeline looks at the collection.
    job: str | None
    records: int
    set_aside: int
    #: The first lines that became no record, with why.
    rows: Sequence[RowAside]


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["records"])
    made.add_api_route(
        "/collections",
        listing,
        methods=["GET"],
        summary="The collections",
        responses={200: {"model": page_of(CollectionView)}},
    )
    made.add_api_route(
        "/collections/{collection}/records",
        put,
        methods=["PUT"],
        summary="Take records in: one JSON object a line",
        responses={202: {"model": model_of(TakenIn)}},
        status_code=202,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    NDJSON: {
                        "schema": {"type": "string"},
                        "example": '{"id": "a", "image_url": "https://example.org/a.jpg"}\n',
                    }
                },
            }
        },
    )
    made.add_api_route(
        "/collections/{collection}/records",
        page,
        methods=["GET"],
        summary="The records of a collection, a page at a time or as JSON Lines",
        responses={200: {"model": page_of(RecordView)}},
    )
    made.add_api_route(
        "/collections/{collection}/records:lookup",
        lookup,
        methods=["POST"],
        summary="Many records by their ids, in one call",
        responses={200: {"model": page_of(RecordView)}},
    )
    made.add_api_route(
        "/collections/{collection}/records/{id:path}",
        one,
        methods=["GET"],
        summary="One record with its values and where each came from",
        responses={200: {"model": model_of(RecordView)}},
    )
    return made


def listing(caller: Annotated[Caller, Depends(needs("read"))]) -> Response:
    """The collections of the project."""
    host = caller.host
    with host.store.reading() as tx:
        names = tx.records.collection_names()
        found = [
            CollectionView(
                name=name,
                records=tx.records.count(key),
                pipelines=[p.name for p in host.pipelines.values() if name in p.collections()],
            )
            for key, name in sorted(names.items(), key=lambda item: item[1])
        ]
    return paged(found, None)


async def put(
    request: Request,
    collection: Collection,
    caller: Annotated[Caller, Depends(needs("submit"))],
    pipeline: Annotated[str | None, Query(description="The pipeline that they are for, where several look.")] = None,
    shape: Annotated[str | None, Query(description="A system's own form of records.")] = None,
    priority: Annotated[int, Query(ge=-1000, le=1000)] = 0,
) -> Response:
    """
    Take records in and have inferred what they make stale.

    Each line is judged by itself: a wrong one is set aside, counted, and named in the answer.
    """
    kind = request.headers.get("content-type", NDJSON).partition(";")[0].strip().lower()
    if kind not in (NDJSON, "application/jsonl", "application/json", "text/plain", "application/octet-stream"):
        raise Refused(415, f"The body is {kind}; send {NDJSON}, one JSON object a line.")
    spool = await spooled(request)

    def take() -> TakenIn:
        host = caller.host
        with spool:
            declared = _pipeline_over(caller, collection, pipeline)
            ask = Submission(pipeline=declared.name, priority=priority)
            rows = lines_of(spool, host, pipeline=declared, collection=collection, shape=shape)
            ask, taken = submission(host, ask, rows)
            job = host.submit(ask)
        return TakenIn(job=job.id, records=taken.records, set_aside=taken.set_aside, rows=taken.rows)

    return answer(await run_in_threadpool(take), status=202)


def page(
    request: Request,
    collection: Collection,
    caller: Annotated[Caller, Depends(needs("read"))],
    where: Annotated[
        list[str] | None, Query(description="Comparisons that must hold: licence=pdm, palette.value>=2.")
    ] = None,
    after: Annotated[str | None, Query(description="Cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = USUAL,
) -> Response:
    """The records with their current values, in the order in which they came; all of them as JSON Lines if asked."""
    begin = place(after, int, start=0)
    if NDJSON in request.headers.get("accept", ""):
        rows_where(caller.host.app, collection, where or (), after=begin, limit=1)
        return lines(_all(caller, collection, where or (), begin), filename=f"{collection}.jsonl")
    found, following = rows_where(caller.host.app, collection, where or (), after=begin, limit=limit)
    return paged(found, None if following is None else cursor(following))


def _all(caller: Caller, collection: str, where: Sequence[str], after: int) -> Iterator[RecordView]:
    following: int | None = after
    while following is not None:
        found, following = rows_where(caller.host.app, collection, where, after=following, limit=MOST)
        yield from found


def lookup(
    request: Request, collection: Collection, body: LookupBody, caller: Annotated[Caller, Depends(needs("read"))]
) -> Response:
    """The records among *ids* that are stored, in the order asked for."""
    desks: LookUpDesks = request.app.state.lookups
    return Encoded(desks.of(caller.host).lookups.together(collection, body.ids, stages=body.stages))


def one(
    collection: Collection,
    id: Annotated[str, Path(description="Id of the record; percent-encoded, it may hold any letter.", min_length=1)],
    caller: Annotated[Caller, Depends(needs("read"))],
    version: Annotated[
        str | None, Query(description="Values as this version made them: the beginning of its digest.", min_length=4)
    ] = None,
) -> Response:
    """One record; with *version*, what that version said, superseded or not."""
    app = caller.host.app
    if version is not None:
        return answer(record_of_version(app, collection, id, version=version))
    with app.store.reading() as tx:
        record = find_record(tx, collection, id)
        views = [view for view in app.views(tx) if collection in view.pipeline.collections()]
        ((_, row),) = rows_at(tx, views, collection, [record.pk])
    return answer(record_at(row))


def _pipeline_over(caller: Caller, collection: str, named: str | None) -> Pipeline:
    """The pipeline that takes records of a collection in."""
    host = caller.host
    if named is not None:
        return host.pipeline(named)
    over = [p for p in host.pipelines.values() if collection in p.collections()]
    own = [p for p in over if p.collection == collection] or over
    if not own:
        known = sorted({name for p in host.pipelines.values() for name in p.collections()})
        raise NotFound(f"No pipeline looks at a collection {collection}; known are: {', '.join(known) or 'none'}")
    return own[0]
