"""A picture with what was found on it drawn in: boxes, labels, tracks; made when it is asked for, never stored."""

import colorsys
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from PIL import Image, ImageDraw, ImageFont
from starlette.responses import Response

from limner.api.auth import Caller
from limner.api.job_pages import view_of
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.domain.jobs import Job
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.domain.values import Value
from limner.errors import NotFound
from limner.inferrers.pictures import decode_picture
from limner.systems.antenna.callback import body_in, told_with
from limner.systems.antenna.status_routes import Watched
from limner.systems.antenna.wire_images import COLLECTION, capture_id, fetched_from

_QUALITY = 88
#: Boxes are in stored pixels, so the picture is drawn on as it is stored.
_READ = FileRead(upright=False, max_bytes=100_000_000)
#: Lines and letters, as parts of the picture's longer side.
_LINE, _LETTER = 1 / 700, 1 / 90
_EDGES = ("x1", "y1", "x2", "y2")


def drawn(picture: Image.Image, detections: Sequence[Mapping[str, Value]], *, width: int | None = None) -> bytes:
    """
    *picture* with *detections*, as a callback tells them, drawn in: the bytes of a JPEG file.

    Each has its box, its best label with the score and its track; one track has one colour in every frame. With
    *width* the picture is made so wide first, so that lines and letters stay readable.
    """
    part = 1.0 if width is None else width / picture.width
    size = (round(picture.width * part), max(1, round(picture.height * part)))
    canvas = picture.convert("RGB") if part == 1.0 else picture.convert("RGB").resize(size)
    draw = ImageDraw.Draw(canvas)
    longer = max(canvas.size)
    line = max(2, round(longer * _LINE))
    font = ImageFont.load_default(max(8, round(longer * _LETTER)))
    for one in detections:
        x1, y1, x2, y2 = (round(one["boundingBox"][edge] * part) for edge in _EDGES)
        colour = _colour(_group(one))
        # The last pixel of a box is the one before its edge.
        box = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
        draw.rectangle(box, outline=colour, width=line)
        _write(draw, _words(one), at=(x1, y1), below=y2, colour=colour, font=font)
    buffer = io.BytesIO()
    # Thin coloured lines keep their colour only without subsampling.
    canvas.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def router(projects: Projects, needs: Callable[[str], Callable[[Request], Caller]]) -> APIRouter:
    """The route under which such a picture is had."""
    made = APIRouter(tags=["antenna"])
    watched, reading = Watched(projects), needs("read")

    def picture(
        request_id: Annotated[str, InPath(description="Id of a request.", max_length=200)],
        source: Annotated[str, InPath(description="Id of one of its pictures.", max_length=1024)],
        caller: Annotated[Caller, Depends(reading)],
        width: Annotated[int | None, Query(ge=64, le=8192, description="Pixels from left to right.")] = None,
    ) -> Response:
        """The picture with its boxes, labels and tracks as far as they are known; fetched from its source."""
        found = drawn_item(caller.host, watched.job(caller, request_id), source, width=width)
        return Response(found, media_type="image/jpeg", headers={"cache-control": "no-store"})

    made.add_api_route(
        "/requests/{request_id}/items/{source:path}/drawn.jpg",
        picture,
        methods=["GET"],
        summary="A picture with what was found on it",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    return made


def drawn_item(host: Host, job: Job, source: str, *, width: int | None = None) -> bytes:
    """
    The picture *source* of a request with what is known of it now.

    Raises:
        NotFound: the request has no such picture.
        FailedRecord: it cannot be fetched or decoded.
    """
    identity = capture_id(source, project=str(told_with(job).get("project_id", "")))
    with host.store.reading() as tx:
        collection = tx.records.find_collection(COLLECTION)
        keys = list(tx.records.keys(collection, [identity]).values()) if collection is not None else []
        if not keys or tx.ledger.fates(job.id, keys).get(keys[0]) is None:
            raise NotFound(f"Request {job.id} has no picture {source!r}.")
        (image,) = body_in(tx, host, view_of(tx, host, job), job, keys)["data"]
    url = fetched_from(image["sourceImageUrl"])
    with host.app.fetching() as fetcher:
        hold = fetcher.hold()
        try:
            file = fetcher.fetch(FileRef(url=url), _READ, hold=hold)
            picture = decode_picture(Path(file.path), read=_READ)
        finally:
            hold.close()
    return drawn(picture, image["detections"], width=width)


def _write(
    draw: ImageDraw.ImageDraw,
    words: str,
    *,
    at: tuple[int, int],
    below: int,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Words on a ground of their own above the box, or below it where there is no room above."""
    if not words:
        return
    left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    wide, high = right - left + 4, bottom - top + 4
    x, y = at[0], at[1] - high if at[1] >= high else below
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + 2 - left, y + 2 - top), words, fill=(0, 0, 0), font=font)


def _words(one: Mapping[str, Value]) -> str:
    """Best label of the last classifier, its score, and the track."""
    told = []
    labelled = [made for made in one.get("classifications") or () if made["labelNames"]]
    if labelled:
        told.append(f"{labelled[-1]['labelNames'][0]} {labelled[-1]['scores'][0]:.2f}")
    if one.get("trackId"):
        told.append(f"track {str(one['trackId']).removeprefix('track-')[:6]}")
    return "  ".join(told)


def _group(one: Mapping[str, Value]) -> str:
    """What shares a colour: a track, else a label."""
    return str(one.get("trackId") or _words(one).partition(" ")[0])


def _colour(name: str) -> tuple[int, int, int]:
    """A bright colour, the same for the same name."""
    hue = hashlib.sha256(name.encode()).digest()[0] / 256
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
