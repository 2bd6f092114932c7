"""The routes that the catalogue's own clients speak: one address for each inferrer, and the images API."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from limner.api.auth import Caller
from limner.api.problems import FieldError, Refused, problem_of_failure
from limner.app.online_inputs import FileBytes, Input
from limner.app.projects import Projects
from limner.domain.tasks import FileRef
from limner.domain.values import Value, decode
from limner.errors import ConfigurationError
from limner.systems.catalogue.images_api import Images

#: Where the images API lies, unless ``root`` in the setting ``[systems.catalogue]`` says otherwise.
ROOT = "/catalogue/v2"
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
#: Seconds that a request waits beyond the stage's own limit.
_PATIENCE = 120.0
Needs = Callable[[str], Callable[[Request], Caller]]


def routes(projects: Projects, needs: Needs) -> APIRouter:
    """The routes; mounted where the setting ``facades`` names the catalogue, or its pipeline is the project's own."""
    made = APIRouter()
    _add_inferrers(made, needs)
    _add_images(made, needs, root=_root(projects))
    return made


def _root(projects: Projects) -> str:
    root = projects.project.settings.systems.get("catalogue", {}).get("root", ROOT)
    if not isinstance(root, str) or not root.startswith("/") or root.endswith("/"):
        raise ConfigurationError(f"The setting `root` of [systems.catalogue] is {root!r}; write it as {ROOT}.")
    return root


def _features(value: Value) -> dict[str, Value]:
    return {"features_b64": _base64(value["vector"])}


def _palette(value: Value) -> dict[str, Value]:
    return {
        "palette_embedding": _base64(value["vector"]),
        "average_color_hex": value["average_color_hex"],
    }


def _aspect_ratio(value: Value) -> dict[str, Value]:
    return {"aspect_ratio": value["value"]}


#: By path: the stage that answers, and the form of its answer.
_INFERRERS: Mapping[str, tuple[str, Callable[[Value], dict[str, Value]]]] = {
    "/feature-vector/": ("features", _features),
    "/palette/": ("palette", _palette),
    "/aspect-ratio/": ("aspect_ratio", _aspect_ratio),
}


def _add_inferrers(made: APIRouter, needs: Needs) -> None:
    """``GET PATH?query_url=…`` and ``POST`` of a picture's bytes, for each inferrer."""
    for path, (stage, form) in _INFERRERS.items():
        ask = _asking(stage, form, needs)
        _documented(made, path, ask, stage)
        made.add_api_route(path.rstrip("/"), ask, methods=["GET", "POST"], include_in_schema=False)
    made.add_api_route(
        "/healthcheck", _healthcheck, methods=["GET"], tags=["catalogue inferrers"], summary="Whether it lives"
    )


def _documented(made: APIRouter, path: str, ask: Callable[..., object], stage: str) -> None:
    for method in ("GET", "POST"):
        made.add_api_route(
            path,
            ask,
            methods=[method],
            tags=["catalogue inferrers"],
            summary=f"What the stage {stage} says of a picture",
            operation_id=f"catalogue_{stage}_{method.lower()}",
            openapi_extra=_BY_ADDRESS if method == "GET" else _BY_BYTES,
        )


_BY_ADDRESS = {
    "parameters": [
        {
            "name": "query_url",
            "in": "query",
            "required": True,
            "schema": {"type": "string"},
            "description": "Address of a picture: http, https, file within the roots, or a IIIF info.json.",
        }
    ]
}
_BY_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _asking(stage: str, form: Callable[[Value], dict[str, Value]], needs: Needs) -> Callable[..., object]:
    async def ask(request: Request, caller: Annotated[Caller, Depends(needs("infer"))]) -> Response:
        """What the stage says of one picture, named by its address or sent along."""
        picture = await _picture(request)
        return await run_in_threadpool(lambda: _answer(caller, stage, picture, form))

    return ask


async def _healthcheck() -> dict[str, str]:
    """It lives."""
    return {"status": "healthy"}


async def _picture(request: Request) -> Input:
    """The picture that a request is about."""
    if request.method == "POST":
        body = await request.body()
        if not body:
            raise _wrong("body", "The body is empty; send the bytes of a picture.")
        return FileBytes(body)
    return FileRef(url=query_url(str(request.url.query)))


def query_url(query: str) -> str:
    """
    The address in the query of a request.

    It is decoded once, and again only where that leaves no absolute address: some clients encode it twice. A plus is
    a plus, since no address holds a blank.

    Raises:
        Refused: there is none.
    """
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name == "query_url" and equals and value:
            address = unquote(value)
            return address if _ABSOLUTE.match(address) else unquote(address)
    raise _wrong("query_url", "Name the address of a picture: ?query_url=https://…")


def _answer(caller: Caller, stage: str, picture: Input, form: Callable[[Value], dict[str, Value]]) -> Response:
    online = caller.online
    target = online.target(f"catalogue.{stage}")
    (name,) = target.runtime.reads
    row = {name: picture}
    online.allow([row])
    limit = target.runtime.timeout.total_seconds() + _PATIENCE
    (outcome,) = online.begin(target, [row]).result(limit)
    headers = {"limner-version": target.version.digest}
    if target.version.model is not None:
        headers["limner-model-digest"] = target.version.model.sha256
    if outcome.failure is not None:
        told = problem_of_failure(outcome.failure)
        told.headers.update(headers)
        return told
    body = msgspec.json.encode(form(decode(outcome.value)))
    return Response(body, media_type="application/json", headers=headers)


def _add_images(made: APIRouter, needs: Needs, *, root: str) -> None:
    images = Images()

    def listing(request: Request) -> Response:
        """Images by words, colour, filters and dates, with facets."""
        return images.answer(lambda: images.listing(needs("read")(request), request.query_params, request.url))

    def single(request: Request, id: Annotated[str, Path()]) -> Response:
        """One image; with include=withSimilarFeatures those that look like it."""
        return images.answer(lambda: images.single(needs("read")(request), id, request.query_params))

    made.add_api_route(f"{root}/images", listing, methods=["GET"], tags=["catalogue images"], summary="Images")
    made.add_api_route(f"{root}/images/{{id}}", single, methods=["GET"], tags=["catalogue images"], summary="One image")


def _base64(vector: Value) -> str:
    """A vector as base64 of little-endian float32."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _wrong(place: str, told: str) -> Refused:
    return Refused(422, f"The request is not right in: {place}.", errors=[FieldError(field=place, message=told)])
