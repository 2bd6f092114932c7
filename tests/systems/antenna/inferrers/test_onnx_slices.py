"""Any ONNX classifier or feature model with a manifest, on slices of whole pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.systems.antenna.onnx_classifier import OnnxClassifier
from limner.systems.antenna.onnx_features import OnnxFeatures
from limner.systems.antenna.onnx_slices import framed
from tests.systems.antenna.inferrers.matching import well
from tests.systems.antenna.inferrers.onnx_graphs import linear

INPUT: dict[str, object] = {"size": [64, 64]}
NAMES = ["red", "green", "blue"]


def labels(count: int) -> list[dict[str, str]]:
    """Labels of *count* classes."""
    return [{"id": f"c{number}", "name": NAMES[number % 3]} for number in range(count)]


def painted() -> tuple[Image.Image, list[list[int]]]:
    """A picture with a red, a green and a blue box of different sizes, and the boxes."""
    picture = Image.new("RGB", (400, 300), "white")
    boxes = [[10, 10, 60, 40], [100, 100, 290, 290], [300, 5, 312, 9]]
    for name, (x1, y1, x2, y2) in zip(NAMES, boxes, strict=True):
        picture.paste("lime" if name == "green" else name, (x1 - 30, y1 - 30, x2 + 30, y2 + 30))
    return picture, boxes


def answered(classifier: OnnxClassifier) -> list[dict[str, object]]:
    """What is said of the three boxes."""
    picture, boxes = painted()
    return well(classifier.infer([picture] * 3, list(boxes)))


def firsts(answers: list[dict[str, object]]) -> list[str]:
    """The name of the best label of each answer."""
    found = []
    for answer in answers:
        listed = answer["labels"]
        assert isinstance(listed, list)
        found.append(listed[0]["name"])
    return found


def test_slices_are_classified(tmp_path: Path) -> None:
    """Each box is judged by its own part of the picture; scores are a softmax, best first."""
    # given
    manifest = {"input": INPUT, "output": "logits", "labels": labels(3)}
    classifier = OnnxClassifier(model=linear(tmp_path / "model.onnx", classes=3), manifest=manifest)

    # when
    answers = answered(classifier)

    # then
    assert firsts(answers) == NAMES
    for answer in answers:
        found = answer["labels"]
        assert isinstance(found, list)
        scores = [one["score"] for one in found]
        assert sum(scores) == pytest.approx(1)
        assert scores == sorted(scores, reverse=True)
        assert answer["full"] is None


def test_full_scores_come_beside_the_best_ten(tmp_path: Path) -> None:
    """With more classes than are listed, all scores come as an array in the order of the labels."""
    # given
    manifest = {"input": INPUT, "output": "logits", "labels": labels(15), "activation": "sigmoid"}
    classifier = OnnxClassifier(model=linear(tmp_path / "model.onnx", classes=15), manifest=manifest)

    # when
    (first, *_) = answered(classifier)

    # then
    found, full = first["labels"], first["full"]
    assert isinstance(found, list)
    assert isinstance(full, np.ndarray)
    assert (len(found), full.dtype, full.shape) == (10, np.float32, (15,))
    assert [one["score"] for one in found] == pytest.approx(sorted(full.tolist(), reverse=True)[:10], abs=1e-6)
    assert found[0] == {"id": "c0", "name": "red", "score": pytest.approx(1 / (1 + np.exp(-10)), abs=1e-4)}


@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_batches_change_nothing(tmp_path: Path, batch: int | str) -> None:
    """A free batch axis, a fixed one, and any size of pieces give the same scores."""
    manifest = {"input": INPUT, "output": "logits", "labels": labels(3)}
    model = linear(tmp_path / "model.onnx", classes=3, batch=batch)
    one, other = (answered(OnnxClassifier(model=model, manifest=manifest, batch=size)) for size in (1, 32))
    assert one == other
    assert firsts(one) == NAMES


def test_no_slices_no_answers(tmp_path: Path) -> None:
    """An empty batch is answered with nothing, and a wrong box spares its neighbours."""
    # given
    manifest = {"input": INPUT, "output": "logits"}
    classifier = OnnxClassifier(model=linear(tmp_path / "model.onnx", classes=3), manifest=manifest)
    picture, boxes = painted()

    # when
    wrong, right = classifier.infer([picture] * 2, [[0, 0, 1000, 5], boxes[1]])

    # then
    assert classifier.infer([], []) == []
    assert "does not lie in its picture" in str(wrong)
    assert isinstance(right, dict)
    assert right["labels"][0]["name"] == "1"  # type: ignore[index]  # a list of labels, named by number here


def test_labels_must_be_as_many_as_scores(tmp_path: Path) -> None:
    """A manifest with too few labels fails each record as OUTPUT_INVALID, with both numbers."""
    manifest = {"input": INPUT, "output": "logits", "labels": labels(2)}
    classifier = OnnxClassifier(model=linear(tmp_path / "model.onnx", classes=3), manifest=manifest)
    picture, boxes = painted()
    (answer,) = classifier.infer([picture], [boxes[0]])
    assert getattr(answer, "code", None) == "OUTPUT_INVALID"
    assert "3 scores, but its manifest names 2 labels" in str(answer)


def test_features_are_unit_vectors(tmp_path: Path) -> None:
    """The model's numbers come as float32 of length 1; what has no direction fails."""
    # given
    features = OnnxFeatures(
        model=linear(tmp_path / "model.onnx", classes=8), manifest={"input": INPUT, "output": "embedding"}, margin=0.0
    )
    picture, boxes = painted()
    black = Image.new("RGB", (20, 20))

    # when
    *good, bad = features.infer([*[picture] * 3, black], [*boxes, [0, 0, 20, 20]])

    # then
    for answer in well(good):
        vector = answer["vector"]
        assert isinstance(vector, np.ndarray)
        assert (vector.dtype, vector.shape, answer["dim"]) == (np.float32, (8,), 8)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert getattr(bad, "code", None) == "OUTPUT_INVALID"


def test_mean_std_and_order_of_channels(tmp_path: Path) -> None:
    """Each channel is scaled, shifted and divided by its own numbers, in the order that the model takes."""
    # given
    manifest = {
        "input": {**INPUT, "channels": "BGR", "scale": 1.0, "mean": [1.0, 2.0, 3.0], "std": [10.0, 20.0, 40.0]},
        "output": "logits",
        "activation": "none",
    }
    classifier = OnnxClassifier(model=linear(tmp_path / "model.onnx", classes=3, scale=1.0), manifest=manifest)

    # when
    (answer,) = well(classifier.infer([Image.new("RGB", (30, 20), (200, 30, 40))], [[0, 0, 30, 20]]))

    # then
    found = answer["labels"]
    assert isinstance(found, list)
    scores = {one["id"]: one["score"] for one in found}
    wanted = {"0": (40 - 1) / 10, "1": 0.9 * (30 - 2) / 20, "2": 0.8 * (200 - 3) / 40}
    assert scores == pytest.approx(wanted, abs=1e-3)


def test_window_keeps_sizes_apart() -> None:
    """A slice in a window of fixed size stays as large as it is; a larger one is its own window."""
    small, large = (
        framed(Image.new("RGB", (10, 6)), side=40, fill=9),
        framed(Image.new("RGB", (90, 6)), side=40, fill=9),
    )
    assert (small.size, large.size) == ((40, 40), (90, 90))
    assert np.asarray(small)[..., 0].sum() == 9 * (1600 - 60)
    assert small.getpixel((20, 20)) == (0, 0, 0)
