"""Models: what versions there are, which one serves, and moving that on and back."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from msgspec import Struct
from starlette.responses import FileResponse, Response

from limner.api.answers import answer, paged
from limner.api.auth import Auth, Caller, address_of, needs
from limner.api.schemas import PromoteBody, RollbackBody, model_of, page_of
from limner.domain.models import ModelVersion
from limner.errors import Forbidden, Unauthorized
from limner.models.registry import Card, Entry

ModelName = Annotated[str, Path(description="Name of a model.", min_length=1, max_length=200)]
Number = Annotated[int, Path(description="Number of a version.", ge=1, le=2**31 - 1)]
Read = Annotated[Caller, Depends(needs("read"))]
Admin = Annotated[Caller, Depends(needs("admin"))]


class ModelView(Struct, frozen=True, kw_only=True):
    """A model with its versions."""

    name: str
    #: By alias: the number that it stands for.
    aliases: dict[str, int]
    versions: Sequence[int]


class Served(Struct, frozen=True, kw_only=True):
    """Which version an alias stands for now."""

    name: str
    alias: str
    version: int
    sha256: str


def router() -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["models"], prefix="/models")
    reading = (
        ("", listing, "Models", page_of(ModelView)),
        ("/{name}", one, "One model", model_of(ModelView)),
        ("/{name}/versions", versions, "The versions of a model", page_of(Entry)),
        ("/{name}/versions/{number}", version, "All that is known of a version", model_of(Card)),
    )
    for path, function, summary, model in reading:
        made.add_api_route(path, function, methods=["GET"], summary=summary, responses={200: {"model": model}})
    made.add_api_route(
        "/{name}/versions/{number}/file",
        file,
        methods=["GET"],
        summary="The file of a version; anyone may fetch a public one",
        responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    moving: tuple[tuple[str, Callable[..., Response], str], ...] = (
        ("/{name}/promote", promote, "Let an alias stand for a version"),
        ("/{name}/rollback", rollback, "Let an alias stand for the version before"),
    )
    for path, function, summary in moving:
        model = model_of(Served)
        made.add_api_route(path, function, methods=["POST"], summary=summary, responses={200: {"model": model}})
    return made


def listing(caller: Read) -> Response:
    """The models of the project."""
    found: dict[str, list[Entry]] = {}
    for entry in caller.host.app.registry.listing():
        found.setdefault(entry.version.name, []).append(entry)
    return paged([_view(name, entries) for name, entries in found.items()], None)


def one(name: ModelName, caller: Read) -> Response:
    """One model: its aliases and the numbers of its versions."""
    return answer(_view(name, _entries(caller, name)))


def versions(name: ModelName, caller: Read) -> Response:
    """The versions of a model."""
    return paged(_entries(caller, name), None)


def version(name: ModelName, number: Number, caller: Read) -> Response:
    """All that is known of a version, every move of its aliases included."""
    return answer(caller.host.app.registry.show(f"{name}@{number}"))


def file(request: Request, name: ModelName, number: Number) -> Response:
    """
    The file of a version under the name that it had; its digest stands in a header.

    Without a token only what was published is handed out.
    """
    auth: Auth = request.app.state.auth
    try:
        host = auth.caller(request.headers, scope="read", address=address_of(request.scope)).host
        found = host.app.registry.find(f"{name}@{number}")
    except Unauthorized:
        if request.headers.get("authorization"):
            raise
        host = request.app.state.projects.host("default")
        found = _published(host.app.registry.listing(name, public_only=True), name, number)
    headers = {"limner-model-digest": found.sha256, "etag": f'"{found.sha256}"'}
    if found.licence:
        headers["limner-licence"] = found.licence.encode("ascii", "replace").decode()
    return FileResponse(
        host.app.artifacts.path(found.sha256),
        media_type="application/octet-stream",
        filename=found.filename,
        headers=headers,
    )


def promote(name: ModelName, body: PromoteBody, caller: Admin) -> Response:
    """Let an alias stand for a version, if the gate of its trainer accepts it; what that makes stale is planned."""
    app = caller.host.app
    moved = app.promote(f"{name}@{body.version}", body.alias, force=body.force, by=_who(caller))
    caller.host.refresh()
    return answer(_served(moved, body.alias))


def rollback(name: ModelName, caller: Admin, body: RollbackBody | None = None) -> Response:
    """Let an alias stand for the version before; results that it made are used again."""
    alias = "champion" if body is None else body.alias
    moved = caller.host.app.registry.rollback(name, alias, by=_who(caller))
    caller.host.refresh()
    return answer(_served(moved, alias))


def _entries(caller: Caller, name: str) -> list[Entry]:
    found = caller.host.app.registry.listing(name)
    if not found:
        caller.host.app.registry.find(name)
    return found


def _view(name: str, entries: Sequence[Entry]) -> ModelView:
    aliases = {alias: entry.version.number for entry in entries for alias in entry.aliases}
    return ModelView(name=name, aliases=aliases, versions=[entry.version.number for entry in entries])


def _published(entries: Sequence[Entry], name: str, number: int) -> ModelVersion:
    """The version, if it is public; whether there is a private one is nobody's business."""
    for entry in entries:
        if entry.version.number == number:
            return entry.version
    raise Forbidden(f"{name}@{number} is not public; send a token as Authorization: Bearer TOKEN.")


def _served(moved: ModelVersion, alias: str) -> Served:
    return Served(name=moved.name, alias=alias, version=moved.number, sha256=moved.sha256)


def _who(caller: Caller) -> str:
    return caller.token_id or "whoever reached the server"
