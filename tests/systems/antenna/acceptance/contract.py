"""The callback's contract, as a reader of it would check each body that comes."""

from collections.abc import Mapping

from limner.domain.values import Value
from tests.systems.antenna.door import CLASSIFICATION_KEYS, DETECTION_KEYS, IMAGE_KEYS


def check_callback(
    document: Mapping[str, Value], *, sizes: Mapping[str, tuple[int, int]], strict: bool = False
) -> None:
    """Fail where a body breaks the contract; *sizes* are those of the pictures by their ids."""
    keys = {"jobId", "pipelineRequestId", "data"}
    assert set(document) == keys if strict else set(document) >= keys
    for image in document["data"]:
        _check_image(image, size=sizes.get(image["sourceImageId"]), strict=strict)


def _check_image(image: Mapping[str, Value], *, size: tuple[int, int] | None, strict: bool) -> None:
    assert set(image) == IMAGE_KEYS if strict else set(image) >= IMAGE_KEYS
    assert image["eventId"] is None or isinstance(image["eventId"], str)
    algorithms = [stage["version"]["algorithm"] for stage in image["stages"]]
    assert len(set(algorithms)) == len(algorithms)
    for stage in image["stages"]:
        assert set(stage) == {"taskId", "version", "timing", "timestamp"}
        assert isinstance(stage["taskId"], str)
        assert isinstance(stage["timestamp"], int)
        assert set(stage["timing"]) == {"http", "inference", "total"}
        assert all(isinstance(seconds, float) and seconds >= 0 for seconds in stage["timing"].values())
        check_version(stage["version"])
    for detection in image["detections"]:
        _check_detection(detection, size=size, algorithms=algorithms, strict=strict)


def _check_detection(
    detection: Mapping[str, Value], *, size: tuple[int, int] | None, algorithms: list[str], strict: bool
) -> None:
    assert set(detection) == DETECTION_KEYS if strict else set(detection) >= DETECTION_KEYS
    check_version(detection["version"])
    assert detection["version"]["algorithm"] in algorithms
    box = detection["boundingBox"]
    assert set(box) == {"x1", "y1", "x2", "y2"}
    assert all(type(edge) is int for edge in box.values())
    assert 0 <= box["x1"] < box["x2"]
    assert 0 <= box["y1"] < box["y2"]
    assert size is None or (box["x2"] <= size[0] and box["y2"] <= size[1])
    for said in detection["classifications"]:
        assert set(said) == CLASSIFICATION_KEYS if strict else set(said) >= CLASSIFICATION_KEYS
        assert said["algorithm"] in algorithms
        lengths = {len(said[name]) for name in CLASSIFICATION_KEYS - {"algorithm"}}
        assert len(lengths) == 1
        assert said["scores"] == sorted(said["scores"], reverse=True)
        assert said["displayScores"] == [round(100 * score) for score in said["scores"]]
        assert all(type(score) is int for score in said["displayScores"])
        assert all(isinstance(label, str) for label in (*said["labelIds"], *said["labelNames"]))
    features = detection["cnnFeatures"]
    if features is not None:
        assert set(features) == {"version", "url"}
        check_version(features["version"])


def check_version(version: Mapping[str, Value]) -> None:
    """Three texts, none of them empty, and none the word that a missing one turns into."""
    assert set(version) == {"algorithm", "apiVersion", "modelVersion"}
    assert all(isinstance(text, str) and text and text not in ("None", "null") for text in version.values())
