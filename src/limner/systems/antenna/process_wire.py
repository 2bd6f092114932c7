"""What travels to and from the older synchronous model services: the bodies of `/info` and `/process`."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from limner.domain.values import Value

_T = TypeVar("_T")


class NotUnderstood(ValueError):
    """A service's answer is not of the form that was agreed on; the sentence names the place."""

    code = "OUTPUT_INVALID"


class SourceImage(Struct, frozen=True, kw_only=True):
    """A picture, by its address."""

    id: str
    url: str = ""


class AlgorithmName(Struct, frozen=True, kw_only=True):
    """Which algorithm said something."""

    key: str
    name: str = ""


class BoundingBox(Struct, frozen=True, kw_only=True):
    """Edges in stored pixels."""

    x1: float
    y1: float
    x2: float
    y2: float


class CategoryMap(Struct, frozen=True, kw_only=True):
    """The labels of a classifier, in the order of its scores."""

    #: ``{"index", "label", …}`` of each.
    data: list[dict[str, Value]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    version: str | None = None


class Algorithm(Struct, frozen=True, kw_only=True):
    """An algorithm that a service declares."""

    key: str
    name: str = ""
    task_type: str | None = None
    version: int = 1
    version_name: str | None = None
    uri: str | None = None
    category_map: CategoryMap | None = None

    @property
    def told_version(self) -> str:
        """Its version as people name it."""
        return self.version_name or str(self.version)


class ServicePipeline(Struct, frozen=True, kw_only=True):
    """A pipeline that a service offers."""

    slug: str
    name: str = ""
    version: int = 1
    description: str | None = None
    algorithms: list[Algorithm] = field(default_factory=list)


class ServiceInfo(Struct, frozen=True, kw_only=True):
    """What a service says of itself."""

    name: str = ""
    pipelines: list[ServicePipeline] = field(default_factory=list)
    algorithms: list[Algorithm] = field(default_factory=list)


class Ready(Struct, frozen=True, kw_only=True):
    """Slugs of the pipelines that a service can be asked for now."""

    status: list[str] = field(default_factory=list)


class Classification(Struct, frozen=True, kw_only=True):
    """What one algorithm made of one detection."""

    #: Name of the best label.
    classification: str
    algorithm: AlgorithmName
    labels: list[str] | None = None
    scores: list[float] = field(default_factory=list)
    inference_time: float | None = None
    #: False: a step on the way, such as the order before the species.
    terminal: bool = True


class Detection(Struct, frozen=True, kw_only=True):
    """One thing that was found; without a box it says that the picture was processed and nothing was."""

    source_image_id: str
    algorithm: AlgorithmName
    bbox: BoundingBox | None = None
    inference_time: float | None = None
    crop_image_url: str | None = None
    classifications: list[Classification] = field(default_factory=list)


class ProcessAnswer(Struct, frozen=True, kw_only=True):
    """What a service answers to `/process`."""

    pipeline: str = ""
    total_time: float | None = None
    source_images: list[SourceImage] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    errors: list[Value] | str | None = None

    @property
    def told_errors(self) -> str:
        """What went wrong, in the service's words; empty where nothing did."""
        return "; ".join(map(str, self.errors)) if isinstance(self.errors, list) else self.errors or ""


class GivenDetection(Struct, frozen=True, kw_only=True):
    """A detection that is sent along to be classified."""

    source_image: SourceImage
    bbox: BoundingBox | None
    crop_image_url: str | None
    algorithm: AlgorithmName


class ProcessRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /process`."""

    pipeline: str
    source_images: list[SourceImage]
    detections: list[GivenDetection] | None
    config: Mapping[str, Value] | None


def declared_algorithms(info: ServiceInfo, *, slug: str) -> dict[str, Algorithm]:
    """By key: the algorithms that *info* declares for a pipeline, and those it declares for all of them."""
    found = {algorithm.key: algorithm for algorithm in info.algorithms}
    for pipeline in info.pipelines:
        if pipeline.slug == slug:
            found |= {algorithm.key: algorithm for algorithm in pipeline.algorithms}
    return found


def decoded(body: bytes, *, type: type[_T], of: str) -> _T:
    """
    *body* as a noun.

    Raises:
        NotUnderstood: it is not of that form.
    """
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotUnderstood(f"{of} is not of the agreed form: {error}") from error


def converted(value: Value, *, type: type[_T], of: str) -> _T:
    """
    *value*, plain objects of JSON, as a noun.

    Raises:
        NotUnderstood: it is not of that form.
    """
    try:
        return msgspec.convert(value, type=type)
    except msgspec.ValidationError as error:
        raise NotUnderstood(f"{of} is not of the agreed form: {error}") from error
