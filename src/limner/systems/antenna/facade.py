"""The routes that the antenna's own clients speak: requests as the first of them sends them."""

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from msgspec import structs
from starlette.responses import JSONResponse, Response

from limner.api.auth import Caller
from limner.api.bodies import inlined
from limner.api.problems import FieldError
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.submitting import CallbackAsk, Key, Manifest, Submission
from limner.domain.jobs import Job
from limner.domain.values import Value
from limner.errors import AddressRefused, Forbidden, UsageError
from limner.settings import DEFAULT
from limner.systems.antenna import batch, drawn, status_routes
from limner.systems.antenna.facade_settings import antenna_settings
from limner.systems.antenna.wire import CreateRequest, refused, request_of, warnings_of
from limner.systems.antenna.wire_images import capture_of, reader_of
from limner.systems.antenna.wire_stages import Step, choices_of, steps_of

PIPELINE = "antenna"
#: The key of a job's detail under which the facade keeps what it needs again.
DETAIL = "antenna"
_CREATE = ("/createRequest", "/pipeline-controller/createRequest")
_EXAMPLE: Value = {
    "projectId": "ecos",
    "jobId": "ea12ac70-288c-11ef-9ca5-00155d926c42",
    "sourceImages": [
        {"id": "NScxODE3NzEyMwo=", "url": "https://example.org/20230705000135-00-07.jpg", "eventId": "1234"}
    ],
    "pipelineConfig": {
        "stages": [
            {"stage": "OBJECT_DETECTION", "stageImplementation": "blobs"},
            {"stage": "CLASSIFICATION", "stageImplementation": "size-shape"},
        ]
    },
    "callback": {"callbackUrl": "https://example.org/callback", "callbackToken": "1234"},
}


def routes(projects: Projects, needs: Callable[[str], Callable[[Request], Caller]]) -> APIRouter:
    """All routes of the antenna; *needs* makes the dependency that asks for a token with a scope."""
    antenna_settings(projects.project.settings)
    made = APIRouter()
    _add_create(made, needs("submit"))
    made.include_router(status_routes.router(projects, needs))
    made.include_router(drawn.router(projects, needs))
    made.include_router(batch.router(projects, needs))
    return made


def _add_create(router: APIRouter, submitting: Callable[[Request], Caller]) -> None:
    """Mount the route that makes a request, under both of its names."""

    async def create_request(
        request: Request,
        caller: Annotated[Caller, Depends(submitting)],
        idempotency_key: Annotated[
            str | None, Header(max_length=200, description="The same key gives the same request.")
        ] = None,
    ) -> Response:
        """Have pictures looked at; the results are sent to the callback, and can be asked for at any time."""
        raw = await request.body()
        base_url = str(request.base_url)

        def submitted() -> str:
            key = Key(key=idempotency_key, request=hashlib.sha256(raw).digest()) if idempotency_key else None
            return submit_request(caller, request_of(raw), key=key, base_url=base_url).id

        return JSONResponse({"requestId": await run_in_threadpool(submitted)}, status_code=202)

    schema = CreateRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": inlined(schema), "example": _EXAMPLE}}
    for path in _CREATE:
        router.add_api_route(
            path,
            create_request,
            methods=["POST"],
            status_code=202,
            tags=["antenna"],
            summary="Have pictures looked at",
            include_in_schema=path == _CREATE[0],
            openapi_extra={"requestBody": {"required": True, "content": content}},
        )


def submit_request(caller: Caller, request: CreateRequest, *, key: Key | None = None, base_url: str = "") -> Job:
    """
    Make the job of a request; it is stored when this returns.

    Raises:
        Refused: a field is not right.
        Forbidden: the request is for another project than the token.
    """
    check_project(caller, request.project_id)
    steps = steps_for(caller.host, request)
    ask = _submission(caller.host, request, steps, key=key, base_url=base_url)
    try:
        return caller.host.submit(ask)
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise refused(FieldError(field="pipelineConfig.stages", message=str(error))) from error


def check_project(caller: Caller, project: str) -> None:
    """Refuse a project that the token is not for; the one that is called default holds every project of its clients."""
    if caller.project not in (DEFAULT, project):
        raise Forbidden(f"The token is for the project {caller.project}, and this is for {project}.")


def steps_for(host: Host, request: CreateRequest) -> list[Step]:
    """The steps that a request asks for."""
    images = request.source_images
    given = bool(images) and all(image.detections is not None for image in images or ())
    aliases = antenna_settings(host.app.settings).aliases
    return steps_of(request.pipeline_config.stages, host.pipeline(PIPELINE), aliases=aliases, boxes_given=given)


def _submission(host: Host, request: CreateRequest, steps: list[Step], *, key: Key | None, base_url: str) -> Submission:
    images, project = request.source_images, request.project_id
    given = images is None or any(image.detections is not None for image in images)
    ask = Submission(
        pipeline=PIPELINE,
        choices=choices_of(steps, host.pipeline(PIPELINE), given=given),
        priority=request.priority,
        expires_in=request.expires_in,
        fail_threshold=request.fail_threshold,
        callback=_callback(host, request),
        key=key,
        detail={DETAIL: detail_of(request, steps, base_url=base_url)},
    )
    if images is None:
        url = str(request.source_images_url)
        _check(host, url, field="sourceImagesUrl")
        return structs.replace(ask, manifest=Manifest(url=url, reader=reader_of(project)))
    rows = [capture_of(image, project=project, index=at) for at, image in enumerate(images)]
    return structs.replace(ask, rows=rows)


def detail_of(request: CreateRequest, steps: list[Step], *, base_url: str) -> dict[str, Value]:
    """What is kept with the job, once: for its status, and for its callbacks."""
    return {
        "project_id": request.project_id,
        "job_id": request.job_id,
        "steps": [structs.asdict(step) for step in steps],
        "warnings": warnings_of(request),
        "base_url": base_url,
    }


def _callback(host: Host, request: CreateRequest) -> CallbackAsk | None:
    given = request.callback
    if given is None:
        return None
    _check(host, given.url, field="callback.callbackUrl")
    return CallbackAsk(url=given.url, token=given.token, mode=given.mode, format=PIPELINE)


def _check(host: Host, url: str, *, field: str) -> None:
    """Refuse an address that this server would not call."""
    try:
        if not url.lower().startswith(("http://", "https://")):
            raise AddressRefused(f"{url[:80]!r} begins with neither http:// nor https://.")
        host.app.guard().check(url)
    except AddressRefused as error:
        raise refused(FieldError(field=field, message=str(error)), code="ADDRESS_REFUSED") from error
