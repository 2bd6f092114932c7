"""A request as clients send it: its fields, and what is wrong with them, told by their paths."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from limner.api.problems import FieldError, Refused, field_path

#: What a project may be called.
PROJECT = r"^[A-Za-z0-9_.-]{1,64}$"
_WINDOW = re.compile(r"(\d+(?:\.\d+)?) *(s|min|m|h|d)")
_ISO = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_LONGEST = timedelta(days=366)
#: Warnings of one request that are kept.
_MOST_WARNINGS = 50


def window_of(text: str) -> timedelta:
    """
    How long ``5s``, ``30m``, ``24h``, ``7d`` or an ISO 8601 duration (``PT5S``, ``P1D``) is.

    Raises:
        ValueError: it is none of these, nothing at all, or longer than a year.
    """
    short, iso = _WINDOW.fullmatch(text.strip().lower()), _ISO.fullmatch(text.strip().upper())
    seconds = 0.0
    if short:
        seconds = float(short[1]) * _SECONDS[short[2]]
    elif iso:
        parts = [float(part or 0) for part in iso.groups()]
        seconds = sum(part * size for part, size in zip(parts, (604_800, 86_400, 3600, 60, 1), strict=True))
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise ValueError(f"{text[:40]!r} is no time of up to a year; write 5s, 30m, 24h, 7d or PT5S")
    return timedelta(seconds=seconds)


def time_of(text: str) -> str:
    """
    A time so written that texts sort as times do: in UTC where it has a zone.

    Raises:
        ValueError: it is no ISO 8601 time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time; write 2022-07-28T23:22:39, with a zone or without") from None
    return found.isoformat() if found.tzinfo is None else found.astimezone(UTC).isoformat()


def _window(text: str) -> str:
    window_of(text)
    return text


class Wire(BaseModel):
    """What clients send: strictly typed, and open to fields that nobody here knows."""

    model_config = ConfigDict(strict=True, extra="allow", populate_by_name=True)


class GivenBox(Wire):
    """A box that is known already, in stored pixels."""

    x1: float
    y1: float
    x2: float
    y2: float

    def model_post_init(self, _: object) -> None:
        """Refuse a box without a pixel in it."""
        if not all(math.isfinite(edge) for edge in (self.x1, self.y1, self.x2, self.y2)):
            raise ValueError("the edges of a box are finite numbers")
        if self.x2 <= self.x1 or self.y2 <= self.y1 or self.x2 <= 0 or self.y2 <= 0:
            raise ValueError("a box has x2 > x1 and y2 > y1, and reaches into the picture")


class SourceImage(Wire):
    """One picture."""

    id: str = Field(min_length=1, max_length=1024, description="Opaque; given back exactly as it came.")
    url: str = Field(min_length=1, max_length=8192, description="Where the picture is fetched.")
    event_id: str | None = Field(None, alias="eventId", max_length=1024, description="Pictures of one night or visit.")
    taken_at: Annotated[str, AfterValidator(time_of)] | None = Field(
        None, alias="takenAt", description="ISO 8601; puts the frames of an event in order."
    )
    detections: list[GivenBox] | None = Field(None, description="Boxes that are known: the detector is skipped.")


class StageAsk(Wire):
    """One step, by the name that clients know it by."""

    stage: str = Field(min_length=1, max_length=200)
    implementation: str = Field(alias="stageImplementation", min_length=1, max_length=200)


class PipelineConfig(Wire):
    """The steps, in the order in which they need one another."""

    stages: list[StageAsk] = Field(min_length=1, max_length=50)


class CallbackIn(Wire):
    """Where the results are sent."""

    url: str = Field(alias="callbackUrl", min_length=1, max_length=8192)
    token: str = Field(alias="callbackToken", max_length=4096, description="Sent back as the header Authorization.")
    mode: Literal["end", "stream"] = Field("end", description="At the end, or as pictures finish.")


class CreateRequest(Wire):
    """Pictures to be looked at, by which steps, and whom to tell."""

    project_id: str = Field(alias="projectId", pattern=PROJECT)
    job_id: str = Field(alias="jobId", min_length=1, max_length=1024, description="The client's own; may repeat.")
    source_images: list[SourceImage] | None = Field(None, alias="sourceImages")
    source_images_url: str | None = Field(
        None,
        alias="sourceImagesUrl",
        min_length=1,
        max_length=8192,
        description="In place of sourceImages: a file of JSON Lines, one source image a line.",
    )
    pipeline_config: PipelineConfig = Field(alias="pipelineConfig")
    callback: CallbackIn | None = Field(None, description="Left out, the results are asked for.")
    priority: int = Field(0, ge=-1000, le=1000, description="Higher goes first.")
    completion_window: Annotated[str, AfterValidator(_window)] | None = Field(
        None, alias="completionWindow", description="5s, 24h, PT5S: what is not done by then expires."
    )
    fail_threshold: float | None = Field(
        None, ge=0, le=1, description="The request fails once more than this share of its pictures failed."
    )

    @property
    def expires_in(self) -> timedelta | None:
        """The completion window."""
        return None if self.completion_window is None else window_of(self.completion_window)


def request_of(raw: bytes) -> CreateRequest:
    """
    The request that a body holds.

    Raises:
        Refused: 400 where it is no JSON, 422 with the path of every field that is wrong.
    """
    try:
        found = CreateRequest.model_validate_json(raw)
    except ValidationError as error:
        raise refused_by(error) from error
    _check_images(found)
    return found


def refused_by(error: ValidationError) -> Refused:
    """What a client is told of a body that does not fit."""
    found = error.errors(include_url=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return Refused(400, f"The body is no JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}.")
    errors = [FieldError(field=field_path(("body", *one["loc"])) or "body", message=_told(one["msg"])) for one in found]
    return refused(*errors)


def refused(*errors: FieldError, code: str | None = None) -> Refused:
    """A refusal that names fields."""
    listed = ", ".join(dict.fromkeys(one.field for one in errors))
    told = f"The request is not right in: {listed}."
    if len(errors) == 1:
        told = f"{told} {errors[0].message}"
    return Refused(422, told, errors=errors, code=code)


def warnings_of(request: CreateRequest) -> list[str]:
    """What of a request is passed over, each once."""
    found = dict.fromkeys(f"unknown field {path}" for path in _unknown(request))
    return list(found)[:_MOST_WARNINGS]


def _unknown(request: CreateRequest) -> Iterator[str]:
    yield from request.model_extra or ()
    yield from (f"pipelineConfig.{name}" for name in request.pipeline_config.model_extra or ())
    for at, stage in enumerate(request.pipeline_config.stages):
        yield from (f"pipelineConfig.stages[{at}].{name}" for name in stage.model_extra or ())
    if request.callback is not None:
        yield from (f"callback.{name}" for name in request.callback.model_extra or ())
    for image in request.source_images or ():
        yield from (f"sourceImages[].{name}" for name in image.model_extra or ())


def _check_images(request: CreateRequest) -> None:
    """Refuse a request without pictures, with two lists of them, or with two of one id."""
    images = request.source_images
    if images is not None and request.source_images_url is not None:
        told = "The pictures come as sourceImages or behind sourceImagesUrl, not as both."
        raise refused(FieldError(field="sourceImagesUrl", message=told))
    if images is None and request.source_images_url is None:
        raise refused(FieldError(field="sourceImages", message="Field required, or sourceImagesUrl."))
    if images is not None and not images:
        raise refused(FieldError(field="sourceImages", message="There is no picture in the list."))
    seen: dict[str, int] = {}
    for at, image in enumerate(images or ()):
        first = seen.setdefault(image.id, at)
        if first != at:
            told = f"The pictures {first} and {at} have one id, {image.id!r}."
            raise refused(FieldError(field=f"sourceImages[{at}].id", message=told))


def _told(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
