"""
The push adapter: inferrers that hand pictures' addresses to a synchronous model service, from a worker near it.

The service is asked `GET /info`, `/readyz` and `/livez`, and `POST /process`. It fetches the pictures itself, so no
byte of them passes through here, and the Limner server needs no route to it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from limner.domain.values import Value
from limner.systems.antenna.process_answers import children_of, labels_of
from limner.systems.antenna.process_client import MachineTime, Service, ServiceRefused, ServiceUnavailable, Time
from limner.systems.antenna.process_wire import (
    AlgorithmName,
    BoundingBox,
    GivenDetection,
    NotUnderstood,
    ProcessAnswer,
    SourceImage,
)

if TYPE_CHECKING:
    import httpx


class OfService:
    """What the inferrers here have in common: the service that they ask."""

    version = "1"

    def __init__(
        self,
        *,
        url: str,
        pipeline: str,
        client: "httpx.Client",
        release: int | None = None,
        token_env: str | None = None,
        config: Mapping[str, Value] | None = None,
        timeout: float = 60.0,
        cold_start: float = 90.0,
        poll: float = 2.0,
        clock: Time | None = None,
    ) -> None:
        """
        *url*: the service's root. *pipeline*: the slug of one of its pipelines.

        *release*: the version of that pipeline that its ``/info`` must name; None takes any. *token_env*: environment
        variable that holds its token. *config* is handed on, but for keys that begin with ``request_``, which are
        ours: ``request_source_image_batch_size`` pictures (1) are asked about at a time. *timeout*: seconds for each
        answer. *cold_start*: seconds that it may take to become ready, asked every *poll* seconds.
        """
        self._service = Service(
            url,
            pipeline=pipeline,
            client=client,
            release=release,
            token_env=token_env,
            config=config,
            timeout=timeout,
            cold_start=cold_start,
            poll=poll,
            clock=clock or MachineTime(),
        )


class ProcessService(OfService):
    """
    An expand over captures: a service's boxes, and its classifications if it classifies too, become children.

    Declared with ``reads={"image_url": "image_url", "header": optional("header")}``; the header, where it is there,
    says the picture's size, so that boxes outside of it are found.
    """

    def infer(
        self, image_url: list[str], header: list[Mapping[str, object] | None] | None = None
    ) -> list[list[dict[str, Value]] | Exception]:
        """Children ``{"box", "score", "origin", "classifications"}`` of each picture, or why there are none."""
        sizes = [_size(one) for one in header] if header is not None else [None] * len(image_url)
        answers: dict[str, ProcessAnswer | Exception] = {}
        for urls in _runs(list(dict.fromkeys(image_url)), self._service.at_once):
            answers |= self._asked(urls)
        return [self._children(answers[url], url, size) for url, size in zip(image_url, sizes, strict=True)]

    def _asked(self, urls: Sequence[str]) -> dict[str, ProcessAnswer | Exception]:
        """By address the answer about it; pictures that fail together are asked about one by one."""
        try:
            answer = self._service.process([_image(url) for url in urls])
        except (ServiceUnavailable, ServiceRefused, NotUnderstood) as error:
            if len(urls) == 1:
                return {urls[0]: error}
            found: dict[str, ProcessAnswer | Exception] = {}
            for url in urls:
                found |= self._asked([url])
            return found
        return dict.fromkeys(urls, answer)

    def _children(
        self, answer: ProcessAnswer | Exception, url: str, size: tuple[int, int] | None
    ) -> list[dict[str, Value]] | Exception:
        if isinstance(answer, Exception):
            return answer
        try:
            return children_of(answer, image=_id(url), algorithms=self._service.algorithms, size=size)
        except NotUnderstood as error:
            return error


class ProcessServiceClassifier(OfService):
    """
    A map over detections: a service that classifies boxes of pictures which it fetches itself.

    Declared with ``reads={"image_url": "parent.image_url", "box": "box"}``; parameters as of :class:`ProcessService`.
    """

    def infer(self, image_url: list[str], box: list[Sequence[int]]) -> list[dict[str, Value] | Exception]:
        """``{"labels": [{"id", "name", "score"}, …], "full": None}`` of each box, best first, or why there are none."""
        found: list[dict[str, Value] | Exception] = [{}] * len(image_url)
        by_picture: dict[str, list[int]] = {}
        for at, url in enumerate(image_url):
            by_picture.setdefault(url, []).append(at)
        for url, places in by_picture.items():
            labelled = self._labelled(url, [box[at] for at in places])
            for at, one in zip(places, labelled, strict=True):
                found[at] = one
        return found

    def _labelled(self, url: str, boxes: Sequence[Sequence[int]]) -> list[dict[str, Value] | Exception]:
        image = _image(url)
        given = [
            GivenDetection(
                source_image=image,
                bbox=BoundingBox(x1=one[0], y1=one[1], x2=one[2], y2=one[3]),
                crop_image_url=None,
                algorithm=AlgorithmName(key="limner", name="Limner"),
            )
            for one in boxes
        ]
        try:
            answer = self._service.process([image], detections=given)
        except (ServiceUnavailable, ServiceRefused, NotUnderstood) as error:
            return [error] * len(boxes)
        found: list[dict[str, Value] | Exception] = []
        for one in boxes:
            try:
                labels = labels_of(answer, image=image.id, box=one, algorithms=self._service.algorithms)
                found.append({"labels": labels, "full": None})
            except NotUnderstood as error:
                found.append(error)
        return found


def _image(url: str) -> SourceImage:
    return SourceImage(id=_id(url), url=url)


def _id(url: str) -> str:
    """What a service is told to call the picture: the same every time, and a short name in its logs."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _size(header: Mapping[str, object] | None) -> tuple[int, int] | None:
    width, height = (header or {}).get("width"), (header or {}).get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _runs(urls: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(urls), size):
        yield urls[start : start + size]
