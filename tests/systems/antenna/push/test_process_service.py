"""The push adapter over a real model service on loopback: cold starts, boxes, labels, and what a service gets wrong."""

import io
import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image

from limner.addresses import AddressGuard
from limner.domain.values import Value
from limner.errors import AddressRefused
from limner.systems.antenna.process_answers import whole_box
from limner.systems.antenna.process_client import ServiceRefused, ServiceUnavailable
from limner.systems.antenna.process_service import ProcessService, ProcessServiceClassifier
from limner.systems.antenna.process_wire import BoundingBox, NotUnderstood
from limner.systems.antenna.size_shape import SizeShape
from limner.systems.antenna.trap_pictures import TrapFrame, night
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.push.service import CLASSIFIER, DETECTOR, LABELS, SLUG, ModelService, Waiting


@pytest.fixture(scope="module")
def frames() -> list[TrapFrame]:
    """Two frames of a small night, and an empty board."""
    return [
        *night(seed=3, frames=2, things=6, size=(960, 540)),
        *night(seed=4, frames=1, things=0, size=(960, 540), furniture=False),
    ]


@pytest.fixture
def pictures(frames: list[TrapFrame]) -> Iterator[PictureServer]:
    """The frames at addresses: ``0.jpg``, ``1.jpg`` and the empty ``2.jpg``."""
    with PictureServer({f"{at}.jpg": frame.jpeg() for at, frame in enumerate(frames)}) as server:
        yield server


@pytest.fixture
def service() -> Iterator[ModelService]:
    """A model service that is ready."""
    with ModelService() as server:
        yield server


def adapter(service: ModelService, *, clock: Waiting | None = None, **params: Value) -> ProcessService:
    """The adapter as a worker makes it."""
    return ProcessService(url=service.url, pipeline=SLUG, client=service.client(), clock=clock or Waiting(), **params)


def test_boxes_and_labels_become_children(
    service: ModelService, pictures: PictureServer, frames: list[TrapFrame]
) -> None:
    """One answer carries boxes and classifications; each child says who made its box and who its labels."""
    # when
    (children,) = adapter(service).infer([pictures.url("0.jpg")])

    # then
    assert isinstance(children, list)
    assert len(children) >= 3
    for child in children:
        assert child["origin"] == DETECTOR["key"]
        x1, y1, x2, y2 = child["box"]
        assert 0 <= x1 < x2 <= 960
        assert 0 <= y1 < y2 <= 540
        (made,) = child["classifications"]
        assert (made["algorithm"], made["version"]) == (CLASSIFIER["key"], "2024-05")
        scores = [label["score"] for label in made["labels"]]
        assert scores == sorted(scores, reverse=True)
        assert [label["id"] for label in made["labels"]] == [
            str(LABELS.index(label["name"])) for label in made["labels"]
        ]


def test_request_has_the_agreed_form(service: ModelService, pictures: PictureServer) -> None:
    """The service is sent addresses, never bytes; keys of ours stay here and the others are handed on."""
    # given
    config = {"request_source_image_batch_size": 2, "threshold": 0.4}

    # when
    adapter(service, config=config).infer([pictures.url(name) for name in ("0.jpg", "1.jpg", "2.jpg")])

    # then
    assert [len(one["source_images"]) for one in service.asked] == [2, 1]
    first = service.asked[0]
    assert set(first) == {"pipeline", "source_images", "detections", "config"}
    assert (first["pipeline"], first["detections"], first["config"]) == (SLUG, None, {"threshold": 0.4})
    assert [one["url"] for one in first["source_images"]] == [pictures.url("0.jpg"), pictures.url("1.jpg")]


def test_one_picture_at_a_time_by_default(service: ModelService, pictures: PictureServer) -> None:
    """Without a batch size each picture has a request of its own, without configuration."""
    # when
    adapter(service).infer([pictures.url("0.jpg"), pictures.url("1.jpg")])

    # then
    assert [(len(one["source_images"]), one["config"]) for one in service.asked] == [(1, None), (1, None)]


def test_nothing_found_is_a_result(service: ModelService, pictures: PictureServer) -> None:
    """A detection without a box says that the picture was processed and nothing is on it."""
    # when
    (children,) = adapter(service).infer([pictures.url("2.jpg")])

    # then
    assert children == []


def test_cold_start_is_waited_for(pictures: PictureServer) -> None:
    """A service that needs sixty seconds to load is asked until it is ready, and its first answer counts."""
    # given
    clock = Waiting()

    with ModelService(cold_until=lambda: clock.now() < 60) as service:
        # when
        (children,) = adapter(service, clock=clock).infer([pictures.url("0.jpg")])

        # then
        assert isinstance(children, list)
        assert 60 <= clock.now() <= 62
        assert len(service.asked) == 1


def test_service_that_went_cold_is_waited_for(pictures: PictureServer) -> None:
    """A service that was put to sleep between two pictures is woken by the second, which is no failure."""
    # given
    clock, asleep = Waiting(), [math.inf, math.inf]

    with ModelService(cold_until=lambda: asleep[0] <= clock.now() < asleep[1]) as service:
        service_adapter = adapter(service, clock=clock)
        asleep[:] = [0, 30]

        # when
        (children,) = service_adapter.infer([pictures.url("0.jpg")])

        # then
        assert isinstance(children, list)
        assert [one["pipeline"] for one in service.asked] == [SLUG, SLUG]
        assert clock.now() == pytest.approx(30, abs=2)


def test_service_that_never_gets_ready() -> None:
    """After the time that a cold start may take it is told that the service lives and is not ready."""
    # given
    clock = Waiting()

    with ModelService(cold_until=lambda: True) as service, pytest.raises(ServiceUnavailable) as told:
        # when
        adapter(service, clock=clock)

    # then
    assert "lives, and was not ready within 90 s: /readyz answered 503" in str(told.value)
    assert told.value.code == "MODEL_UNAVAILABLE"
    assert clock.now() <= 90


def test_undeclared_algorithm_fails_its_picture(service: ModelService, pictures: PictureServer) -> None:
    """Whatever an algorithm says that the service does not declare is refused; its neighbours are kept."""

    # given
    def spoil(answer: dict[str, Value]) -> dict[str, Value]:
        if len(service.asked) == 1:
            for detection in answer["detections"]:
                detection["algorithm"] = {"key": "surprise", "name": "Surprise"}
        return answer

    service.spoil = spoil

    # when
    refused, kept = adapter(service).infer([pictures.url("0.jpg"), pictures.url("1.jpg")])

    # then
    assert isinstance(refused, NotUnderstood)
    assert refused.code == "OUTPUT_INVALID"
    assert "'surprise' is not one that the service declares" in str(refused)
    assert isinstance(kept, list)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bbox": {"x1": 0, "y1": 0, "x2": 5000, "y2": 10}}, "does not lie in a picture of 960 × 540"),
        ({"bbox": {"x1": -30, "y1": 0, "x2": 50, "y2": 10}}, "does not lie in"),
        ({"bbox": {"x1": 7, "y1": 0, "x2": 7, "y2": 10}}, "holds no pixel"),
        ({"bbox": {"x1": float("nan"), "y1": 0, "x2": 7, "y2": 10}}, "not of the agreed form"),
        ({"classifications": [{"classification": "a", "scores": [0.1, 0.2, 0.3], "algorithm": CLASSIFIER}]}, "scores"),
        ({"classifications": [{"scores": [0.1], "algorithm": CLASSIFIER}]}, "not of the agreed form"),
        ({"algorithm": {}}, "not of the agreed form"),
    ],
)
def test_wrong_detection_is_invalid(
    service: ModelService, pictures: PictureServer, change: dict[str, Value], told: str
) -> None:
    """A box outside the picture, one that is none, arrays of unequal length and missing keys are OUTPUT_INVALID."""

    # given
    def spoil(answer: dict[str, Value]) -> dict[str, Value]:
        answer["detections"][0].update(change)
        return answer

    service.spoil = spoil

    # when
    (refused,) = adapter(service).infer([pictures.url("0.jpg")], header=[{"width": 960, "height": 540}])

    # then
    assert getattr(refused, "code", None) == "OUTPUT_INVALID"
    assert told in str(refused)


def test_box_a_little_outside_is_cut() -> None:
    """What reaches over the edge by less than a pixel is cut there; whole pixels take the box in."""
    # given
    box = BoundingBox(x1=-0.4, y1=3.7, x2=100.6, y2=49.2)

    # then
    assert whole_box(box, size=(100, 50)) == (0, 3, 100, 50)


def test_picture_that_was_not_answered(service: ModelService, pictures: PictureServer) -> None:
    """A service that says nothing of a picture did not process it: that is no empty picture."""
    # given
    service.spoil = lambda answer: {**answer, "detections": [], "source_images": []}

    # when
    (refused,) = adapter(service).infer([pictures.url("0.jpg")])

    # then
    assert isinstance(refused, NotUnderstood)


@pytest.mark.parametrize("errors", ["the weights are gone", ["the weights are gone"]])
def test_errors_of_the_service_are_told(service: ModelService, pictures: PictureServer, errors: Value) -> None:
    """Errors in an answer with status 200 fail the picture, in the service's words."""
    # given
    service.spoil = lambda answer: {**answer, "errors": errors}

    # when
    (refused,) = adapter(service).infer([pictures.url("0.jpg")])

    # then
    assert isinstance(refused, ServiceRefused)
    assert "the weights are gone" in str(refused)


def test_bad_picture_spares_those_it_travelled_with(service: ModelService, pictures: PictureServer) -> None:
    """Pictures that were asked about together and failed together are asked about alone."""

    # given
    def spoil(answer: dict[str, Value]) -> dict[str, Value] | tuple[int, str]:
        urls = [one["url"] for one in answer["source_images"]]
        return (400, "it is no moth") if pictures.url("1.jpg") in urls else answer

    service.spoil = spoil

    # when
    good, bad, empty = adapter(service, config={"request_source_image_batch_size": 3}).infer(
        [pictures.url(name) for name in ("0.jpg", "1.jpg", "2.jpg")]
    )

    # then
    assert isinstance(good, list)
    assert isinstance(bad, ServiceRefused)
    assert "400" in str(bad)
    assert "it is no moth" in str(bad)
    assert empty == []


@pytest.mark.parametrize("status", [500, 502, 504, 429])
def test_status_that_may_pass(service: ModelService, pictures: PictureServer, status: int) -> None:
    """A status that may be another one later is MODEL_UNAVAILABLE, which stages try again."""
    # given
    service.spoil = lambda answer: (status, "not now")

    # when
    (failed,) = adapter(service).infer([pictures.url("0.jpg")])

    # then
    assert isinstance(failed, ServiceUnavailable)
    assert failed.code == "MODEL_UNAVAILABLE"


def test_no_answer_in_time(service: ModelService, pictures: PictureServer) -> None:
    """A service that does not answer within the time limit is MODEL_UNAVAILABLE for that picture."""
    # given
    over = threading.Event()

    def spoil(answer: dict[str, Value]) -> dict[str, Value]:
        over.wait(10)
        return answer

    service.spoil = spoil

    # when
    (failed,) = adapter(service, timeout=0.2).infer([pictures.url("0.jpg")])
    over.set()

    # then
    assert isinstance(failed, ServiceUnavailable)
    assert "ReadTimeout" in str(failed)


def test_other_release_is_refused(service: ModelService) -> None:
    """A stage that names a release gets no answers of another one, so that none are mixed unseen."""
    with pytest.raises(ValueError, match="serves release 3 of moths, and the stage names 2"):
        adapter(service, release=2)


def test_unknown_pipeline_names_the_known(service: ModelService) -> None:
    """A slug that the service does not have is told with those that it has."""
    # given
    service.cold = lambda: False
    made = {"url": service.url, "client": service.client(), "clock": Waiting()}

    # then
    with pytest.raises(ServiceUnavailable, match="names moths, not butterflies"):
        ProcessService(pipeline="butterflies", **made)  # type: ignore[arg-type]  # what every adapter is made with


def test_token_travels(service: ModelService, pictures: PictureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token comes from the environment of the worker and is sent with every call."""
    # given
    monkeypatch.setenv("SERVICE_TOKEN", "s3cret")

    # when
    adapter(service, token_env="SERVICE_TOKEN").infer([pictures.url("0.jpg")])

    # then
    assert service.headers[0]["authorization"] == "Bearer s3cret"


def test_private_service_needs_allowance(service: ModelService) -> None:
    """A service at a private address is called only where the settings allow it."""
    # given
    client = AddressGuard().client()

    # then
    with pytest.raises(AddressRefused, match="allow_hosts"):
        ProcessService(url=service.url, pipeline=SLUG, client=client, clock=Waiting())


def test_classifier_is_given_boxes(service: ModelService, pictures: PictureServer, frames: list[TrapFrame]) -> None:
    """The service classifies the boxes that it is sent, one request for each picture; labels come back best first."""
    # given
    boxes: list[Sequence[int]] = [list(thing.box) for thing in frames[0].things[:2]]
    wanted = SizeShape().infer([_stored(pictures, "0.jpg")] * 2, boxes)
    classifier = ProcessServiceClassifier(url=service.url, pipeline=SLUG, client=service.client(), clock=Waiting())

    # when
    found = classifier.infer([pictures.url("0.jpg")] * 2, boxes)

    # then
    assert len(service.asked) == 1
    assert _names(found) == _names(wanted)


def _names(answers: list[dict[str, Value] | Exception]) -> list[list[str]]:
    assert not any(isinstance(one, Exception) for one in answers)
    return [[label["name"] for label in one["labels"]] for one in answers if isinstance(one, dict)]


def _stored(pictures: PictureServer, name: str) -> Image.Image:
    content = pictures.picture(name)
    assert content is not None
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_imports_without_picture_packages() -> None:
    """A worker near a service needs neither NumPy nor Pillow for it."""
    # given
    code = "import limner.systems.antenna.process_service, sys; print('numpy' in sys.modules, 'PIL' in sys.modules)"

    # when
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # then
    assert done.stdout.split() == ["False", "False"]
