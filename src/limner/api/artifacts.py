"""Artifacts and model files over HTTP: bytes by their digest, to those whose project holds them."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from limner.api.auth import Caller, needs
from limner.api.problems import Refused
from limner.app.held import MOST_BYTES, held_artifact, keep_artifact
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.errors import Forbidden, Unauthorized
from limner.store.files import HeldArtifact

Sha256 = Annotated[str, InPath(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, in hexadecimal.")]
Number = Annotated[int, InPath(ge=1, le=2**31 - 1, description="Number of a version.")]
#: Bytes by their digest never change.
_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",
    # Whatever a file claims to be, a browser neither guesses nor runs it.
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
}


def router(projects: Projects) -> APIRouter:
    """The routes of artifacts and model files."""
    made = APIRouter(prefix="/api/v1", tags=["artifacts"])

    def reader(request: Request) -> Host:
        """The project of whoever may read: by a token that reads or works, or by a signed link."""
        query = request.query_params
        if "signature" in query:
            project, expires = query.get("project", "default"), query.get("expires", "")
            if not expires.isdecimal() or len(expires) > 15:
                raise Unauthorized("The link is not one that this server signed; ask for the results again.")
            sha256 = request.path_params["sha256"]
            projects.key.check_link(sha256, project=project, expires=int(expires), signature=query["signature"])
            return projects.host(project)
        try:
            return needs("read")(request).host
        except Forbidden:
            return needs("work")(request).host

    @made.head("/artifacts/{sha256}", include_in_schema=False)
    @made.get(
        "/artifacts/{sha256}",
        response_class=FileResponse,
        summary="The bytes of an artifact; ranges may be asked for",
    )
    def get(sha256: Sha256, host: Annotated[Host, Depends(reader)]) -> Response:
        """The bytes with this digest, if this project holds them."""
        held = held_artifact(host, sha256)
        path = host.app.artifacts.path(sha256)
        headers = {**_HEADERS, "etag": f'"{sha256}"'}
        return FileResponse(path, media_type=held.kind or "application/octet-stream", headers=headers)

    @made.put(
        "/artifacts/{sha256}",
        status_code=204,
        summary="Hand in the bytes of an artifact",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def put(request: Request, sha256: Sha256, caller: Annotated[Caller, Depends(needs("work"))]) -> Response:
        """Keep the bytes; 422 (CHECKSUM_MISMATCH) where they have another digest. To send them again does no harm."""
        folder = caller.host.app.project.home
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="upload-") as file:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_BYTES:
                    raise Refused(413, f"An artifact has at most {MOST_BYTES} bytes.")
                await run_in_threadpool(file.write, chunk)
            file.flush()
            kind = request.headers.get("content-type", "").partition(";")[0].strip()
            held = HeldArtifact(sha256=sha256, size=size, kind=kind[:100])
            await run_in_threadpool(keep_artifact, caller.host, Path(file.name), held)
        return Response(status_code=204)

    @made.get("/models/{name}/{number}/file", response_class=FileResponse, summary="The file of a model's version")
    def model_file(name: str, number: Number, host: Annotated[Host, Depends(reader_of_models)]) -> Response:
        """The file that was added as this version."""
        with host.store.reading() as tx:
            found = tx.models.get(name, number)
        path = host.app.artifacts.path(found.sha256)
        headers = {**_HEADERS, "etag": f'"{found.sha256}"', "limner-sha256": found.sha256}
        return FileResponse(path, filename=found.filename, media_type="application/octet-stream", headers=headers)

    return made


def reader_of_models(request: Request) -> Host:
    """The project of whoever may read, or work."""
    try:
        return needs("read")(request).host
    except Forbidden:
        return needs("work")(request).host
