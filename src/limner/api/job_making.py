"""How a job is made: of records in the body, of JSON Lines, of stored records, or of a list behind an address."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct
from pydantic import ValidationError
from starlette.responses import Response

from limner.api.answers import NDJSON, answer
from limner.api.auth import Caller, needs
from limner.api.problems import FieldError, Refused, field_path
from limner.api.record_lines import RowAside, Taken, lines_of, spooled, submission
from limner.api.schemas import JobBody, RecordBody
from limner.app.submitting import CallbackAsk, Key, Manifest, Submission
from limner.domain.records import NotARecord, RecordIn, SetAside
from limner.sources.base import checked


class Submitted(Struct, frozen=True, kw_only=True):
    """A job that was made."""

    id: str
    state: str
    pipeline: str
    created: float
    #: Where it is watched.
    href: str
    #: Records that were sent along, and rows that became none; null where they are still read.
    records: int | None
    set_aside: int | None
    #: The first rows that became no record, with why.
    rows: Sequence[RowAside]


async def submit(
    request: Request,
    caller: Annotated[Caller, Depends(needs("submit"))],
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="The same key gives the same job; of another request, 422.")
    ] = None,
    pipeline: Annotated[str | None, Query(description="Of a body of JSON Lines: the pipeline.")] = None,
    collection: Annotated[str | None, Query(description="Of a body of JSON Lines: the records' collection.")] = None,
    shape: Annotated[str | None, Query(description="Of a body of JSON Lines: a system's own form.")] = None,
    priority: Annotated[int, Query(ge=-1000, le=1000, description="Of a body of JSON Lines.")] = 0,
    choose: Annotated[list[str] | None, Query(description="Of a body of JSON Lines: STAGE=NAME,NAME.")] = None,
) -> Response:
    """
    Make a job of records in the body, of stored records by their ids, or of a list behind an address.

    Records may be sent as JSON Lines too, in any number; pipeline and options then stand in the query.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind in (NDJSON, "application/jsonl"):
        body = _of_query(pipeline=pipeline, collection=collection, shape=shape, priority=priority, choose=choose)
        spool = await spooled(request)
        digest = hashlib.sha256(repr(sorted(request.query_params.multi_items())).encode())

        def of_lines() -> Submitted:
            with spool:
                while piece := spool.read(1 << 20):
                    digest.update(piece)
                spool.seek(0)
                declared = caller.host.pipeline(body.pipeline)
                into = body.collection or declared.collection
                rows = lines_of(spool, caller.host, pipeline=declared, collection=into, shape=body.shape)
                return _made(caller, body, rows, key=_key(idempotency_key, digest.digest()))

        return _submitted(await run_in_threadpool(of_lines))
    if kind != "application/json":
        raise Refused(415, f"The body is {kind}; send application/json, or {NDJSON} with one record a line.")
    raw = await request.body()
    body = _body_of(raw)
    key = _key(idempotency_key, hashlib.sha256(raw).digest())
    return _submitted(await run_in_threadpool(lambda: _made(caller, body, _rows_of(caller, body), key=key)))


def _submitted(made: Submitted) -> Response:
    return answer(made, status=202, headers={"location": made.href})


def _made(caller: Caller, body: JobBody, rows: Iterator[RecordIn | SetAside] | None, *, key: Key | None) -> Submitted:
    ask, taken = _asked(caller, body, rows, key=key)
    job = caller.host.submit(ask)
    return Submitted(
        id=job.id,
        state=job.state.value,
        pipeline=job.pipeline,
        created=job.created,
        href=f"/api/v1/jobs/{job.id}",
        records=None if taken is None else taken.records,
        set_aside=None if taken is None else taken.set_aside,
        rows=[] if taken is None else taken.rows,
    )


def _asked(
    caller: Caller, body: JobBody, rows: Iterator[RecordIn | SetAside] | None, *, key: Key | None
) -> tuple[Submission, Taken | None]:
    """What the engine is asked, and what was made of the rows."""
    host = caller.host
    declared = host.pipeline(body.pipeline)
    given = [
        name for name, value in (("ids", body.ids), ("manifest", body.manifest), ("records", rows)) if value is not None
    ]
    if len(given) > 1:
        raise refused("records", f"A job takes its records in one way; here are {' and '.join(given)}.")
    manifest = None
    if body.manifest is not None:
        host.app.guard().check(body.manifest.url)
        into = body.collection or declared.collection
        if body.shape is not None:
            raise refused("shape", "A manifest holds plain records; send those of a shape as JSON Lines.")
        manifest = Manifest(url=body.manifest.url, reader=f"limner.app.plain_lines:{into}")
    callback = None
    if body.callback is not None:
        host.app.guard().check(body.callback.url)
        told = body.callback
        callback = CallbackAsk(url=told.url, token=told.token, mode=told.mode, format=told.format)
    ask = Submission(
        pipeline=declared.name,
        manifest=manifest,
        ids=body.ids,
        choices=body.choices,
        priority=body.priority,
        expires_in=None if body.expires_in is None else timedelta(seconds=body.expires_in),
        fail_threshold=body.fail_threshold,
        callback=callback,
        key=key,
        detail=body.detail,
    )
    return (ask, None) if rows is None else submission(host, ask, rows)


def _rows_of(caller: Caller, body: JobBody) -> Iterator[RecordIn | SetAside] | None:
    """The records that stand in the body itself; two with one id are a mistake."""
    if body.records is None:
        return None
    declared = caller.host.pipeline(body.pipeline)
    into = body.collection or declared.collection
    seen: dict[str, int] = {}
    found: list[RecordIn | SetAside] = []
    for at, record in enumerate(body.records):
        if record.id in seen:
            told = f"The records {seen[record.id]} and {at} have one id, {record.id!r}."
            raise refused(f"records[{at}].id", told)
        seen[record.id] = at
        if record.fields is None or body.shape is not None:
            line = io.BytesIO(msgspec.json.encode(record.model_dump(exclude_unset=True)))
            rows = lines_of(line, caller.host, pipeline=declared, collection=into, shape=body.shape)
        else:
            rows = _plain(record, into)
        for row in rows:
            if isinstance(row, SetAside):
                raise refused(f"records[{at}]", row.reason)
            found.append(row)
    if not found:
        raise refused("records", "There is no record in the list.")
    return iter(found)


def _plain(record: RecordBody, into: str) -> Iterator[RecordIn | SetAside]:
    """The record whose fields stand apart from its properties."""
    parent = record.parent
    made = RecordIn(
        collection=into,
        id=record.id,
        fields=record.fields or {},
        revision=record.revision,
        source_version=record.source_version,
        parent=None if parent is None else (parent.get("collection", ""), parent.get("id", "")),
    )
    try:
        yield from checked([made])
    except NotARecord as error:
        yield SetAside(row=1, reason=str(error))


def _body_of(raw: bytes) -> JobBody:
    """The body, checked; 400 where it is no JSON, 422 with every wrong field where it is no job."""
    try:
        return JobBody.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        if found[0]["type"] == "json_invalid":
            raise Refused(400, f"The body is no JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}.") from error
        errors = [FieldError(field=field_path(("body", *one["loc"])) or "body", message=one["msg"]) for one in found]
        listed = ", ".join(dict.fromkeys(one.field for one in errors))
        raise Refused(422, f"The request is not right in: {listed}.", errors=errors) from error


def _of_query(
    *, pipeline: str | None, collection: str | None, shape: str | None, priority: int, choose: list[str] | None
) -> JobBody:
    if not pipeline:
        raise refused("pipeline", "Name the pipeline in the query: ?pipeline=NAME.")
    pairs = dict(item.partition("=")[::2] for item in choose or ())
    choices = {stage: [name for name in names.split(",") if name] for stage, names in pairs.items()}
    return JobBody(pipeline=pipeline, collection=collection, shape=shape, priority=priority, choices=choices)


def _key(given: str | None, digest: bytes) -> Key | None:
    return Key(key=given, request=digest) if given else None


def refused(place: str, told: str) -> Refused:
    """The refusal of a request of which one field is not right."""
    return Refused(422, f"The request is not right in: {place}.", errors=[FieldError(field=place, message=told)])
