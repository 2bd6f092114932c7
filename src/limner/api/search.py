"""Searching: words, filters and likeness in one question, by GET, by JSON, or with a file to be like."""

import tempfile
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from starlette.responses import Response

from limner.api.answers import answer
from limner.api.auth import Caller, needs
from limner.api.problems import FieldError, Refused
from limner.api.schemas import SearchBody, model_of
from limner.search.base import Page

Collection = Annotated[str, Query(min_length=1, max_length=200, description="Name of a collection.")]
By = Annotated[list[str] | None, Query(description="A kind of query that the pipeline declares: colour=#aa3311.")]
Where = Annotated[list[str] | None, Query(description="Only where this holds: licence=pdm, aspect_ratio.value>=1.5.")]


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["search"])
    found: dict[int | str, dict[str, object]] = {200: {"model": model_of(Page)}}
    made.add_api_route("/search", by_get, methods=["GET"], summary="Search a collection", responses=found)
    made.add_api_route(
        "/search", by_post, methods=["POST"], summary="Search a collection, the question as JSON", responses=found
    )
    made.add_api_route(
        "/search/file",
        by_file,
        methods=["POST"],
        summary="Search for what is like a picture or another file",
        responses=found,
    )
    return made


def by_get(
    caller: Annotated[Caller, Depends(needs("read"))],
    collection: Collection,
    text: Annotated[str, Query(description="Words to find.")] = "",
    similar: Annotated[str | None, Query(description="Like this record.")] = None,
    on: Annotated[str | None, Query(description="The vector that is compared.")] = None,
    by: By = None,
    where: Where = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    limit: Annotated[int, Query(ge=0, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Find records by words, filters and likeness at once."""
    body = SearchBody(
        collection=collection,
        text=text,
        similar=similar,
        on=on,
        by=_pairs(by),
        where=where or [],
        min_score=min_score,
        limit=limit,
        offset=offset,
    )
    return answer(_found(caller, body, file=None))


def by_post(body: SearchBody, caller: Annotated[Caller, Depends(needs("read"))]) -> Response:
    """Find records by words, filters and likeness at once."""
    return answer(_found(caller, body, file=None))


def by_file(
    caller: Annotated[Caller, Depends(needs("read"))],
    file: Annotated[UploadFile, File(description="The picture or other file to be like.")],
    collection: Annotated[str, Form(min_length=1, max_length=200)],
    text: Annotated[str, Form()] = "",
    on: Annotated[str | None, Form()] = None,
    where: Annotated[list[str] | None, Form()] = None,
    min_score: Annotated[float | None, Form(allow_inf_nan=False)] = None,
    limit: Annotated[int, Form(ge=0, le=1000)] = 10,
    offset: Annotated[int, Form(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Find what is like a file, which is inferred now and not stored."""
    body = SearchBody(
        collection=collection, text=text, on=on, where=where or [], min_score=min_score, limit=limit, offset=offset
    )
    with tempfile.NamedTemporaryFile(prefix="limner-search-") as kept:
        while piece := file.file.read(1 << 20):
            kept.write(piece)
        kept.flush()
        return answer(_found(caller, body, file=FilePath(kept.name)))


def _found(caller: Caller, body: SearchBody, *, file: FilePath | None) -> Page:
    return caller.host.app.search(
        body.collection,
        body.text,
        similar=body.similar,
        file=file,
        on=body.on,
        by=body.by,
        where=body.where,
        min_score=body.min_score,
        limit=body.limit,
        offset=body.offset,
    )


def _pairs(given: list[str] | None) -> dict[str, str]:
    found = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            error = FieldError(field="by", message=f"{item!r} is no KIND=VALUE.")
            raise Refused(422, "The request is not right in: by.", errors=[error])
        found[name] = value
    return found
