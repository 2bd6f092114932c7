"""Any ONNX detector with a manifest finds boxes in stored pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limner.domain.outputs import Anything, Number, Text
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.inferrers.host import Host
from limner.systems.antenna.boxes import overlaps
from limner.systems.antenna.onnx_detector import OnnxDetector
from tests.inferrers.cases import codes_of, model_ref, run_files, runtime, values_of
from tests.systems.antenna.inferrers.matching import box_of, well
from tests.systems.antenna.inferrers.onnx_graphs import INPUT, LABELS, lists, yolo

Manifest = dict[str, object]
BLACK, NO_BLUE = (0, 0, 0), (200, 200, 10)


def manifest(output: str, **more: object) -> Manifest:
    """A manifest of the models that the tests make."""
    return {"input": INPUT, "output": output, "labels": LABELS, "threshold": 0.6, **more}


def scene(
    size: tuple[int, int], *boxes: tuple[int, int, int, int], colour: tuple[int, int, int] = BLACK
) -> Image.Image:
    """A white picture with boxes on it."""
    picture = Image.new("RGB", size, "white")
    for x1, y1, x2, y2 in boxes:
        ImageDraw.Draw(picture).rectangle((x1, y1, x2 - 1, y2 - 1), fill=colour)
    return picture


def boxes_in(detector: OnnxDetector, picture: Image.Image) -> list[list[int]]:
    """The boxes found in *picture*, by their edges."""
    (found,) = well(detector.infer([picture]))
    return sorted(box_of(one) for one in found)


@pytest.mark.parametrize("kind", ["yolo", "yolo-sure", "yolo-fixed", "lists", "lists-alone"])
def test_boxes_are_those_of_the_picture(tmp_path: Path, kind: str) -> None:
    """A letterboxed picture, twice as wide as high, has its boxes back in its own pixels, with every kind of output."""
    # given
    path = tmp_path / "model.onnx"
    if kind.startswith("yolo"):
        yolo(path, sure=kind == "yolo-sure", batch=3 if kind == "yolo-fixed" else "batch")
    else:
        lists(path, batched=kind == "lists")
    detector = OnnxDetector(model=path, manifest=manifest("yolo" if "yolo" in kind else "xyxy-scores-labels"))
    # A letterbox of 64 × 64 holds 640 × 320 ten times smaller, 16 rows from the top.
    picture = scene((640, 320), (160, 0, 320, 160))

    # when
    (found,) = well(detector.infer([picture]))

    # then
    (one,) = found
    assert box_of(one) == [160, 0, 320, 160]
    assert one["score"] == pytest.approx(1.0, abs=0.05)
    assert one["origin"] == "onnx-detector"


def test_stretched_pictures_have_their_boxes_back(tmp_path: Path) -> None:
    """Without a letterbox width and height are scaled each by itself."""
    wanted = manifest("yolo", input={**INPUT, "resize": "stretch"})
    detector = OnnxDetector(model=yolo(tmp_path / "model.onnx"), manifest=wanted)
    assert boxes_in(detector, scene((640, 320), (160, 80, 320, 160))) == [[160, 80, 320, 160]]


def test_classes_come_with_the_box(tmp_path: Path) -> None:
    """A detector that tells classes apart classifies what it finds, best first."""
    # given
    detector = OnnxDetector(model=yolo(tmp_path / "model.onnx"), manifest=manifest("yolo"))

    # when
    ((one,),) = well(detector.infer([scene((64, 64), (16, 16, 32, 32), colour=NO_BLUE)]))

    # then
    (classification,) = _list(one["classifications"])
    assert isinstance(classification, dict)
    assert [label["name"] for label in classification["labels"]] == ["no blue", "no red"]
    assert one["score"] == classification["labels"][0]["score"] == pytest.approx(1 - 10 / 255, abs=0.01)


def test_threshold_and_number_are_kept(tmp_path: Path) -> None:
    """What scores too low is dropped, and of the others only so many are kept."""
    # given
    model = yolo(tmp_path / "model.onnx")
    picture = scene((64, 64), (0, 0, 16, 16), (32, 0, 48, 16), (0, 32, 16, 48))

    # when
    kept = [
        len(boxes_in(OnnxDetector(model=model, manifest=manifest("yolo", **more)), picture))
        for more in ({}, {"threshold": 1.0}, {"max_detections": 2})
    ]

    # then
    assert kept == [3, 3, 2]
    grey = scene((64, 64), (0, 0, 16, 16), colour=(120, 120, 120))
    assert boxes_in(OnnxDetector(model=model, manifest=manifest("yolo")), grey) == []


def test_doubles_are_suppressed_within_a_class(tmp_path: Path) -> None:
    """Tiles that overlap find an insect twice; it is answered once, in the pixels of the whole picture."""
    # given
    detector = OnnxDetector(
        model=yolo(tmp_path / "model.onnx"),
        manifest=manifest("yolo", tiling={"size": [64, 64], "overlap": 0.5}),
    )
    picture = scene((160, 128), (64, 32, 80, 48), (128, 96, 144, 112), (0, 112, 16, 128))

    # when
    found = boxes_in(detector, picture)

    # then
    assert found == [[0, 112, 16, 128], [64, 32, 80, 48], [128, 96, 144, 112]]


def test_small_insects_need_tiles(tmp_path: Path) -> None:
    """What vanishes when a large picture is made small is found in its tiles."""
    # given
    model = yolo(tmp_path / "model.onnx")
    picture = scene((1024, 1024), (512, 256, 528, 272))

    # when
    whole, tiled = (
        boxes_in(OnnxDetector(model=model, manifest=manifest("yolo", **more)), picture)
        for more in ({}, {"tiling": {"size": [64, 64], "overlap": 0.25}})
    )

    # then
    assert whole == []
    assert tiled
    assert overlaps(np.array(tiled, dtype=np.float64), np.array([[512.0, 256, 528, 272]])).max() >= 0.99


def test_batches_change_nothing(tmp_path: Path) -> None:
    """Pictures of mixed sizes give the same boxes (IoU at least 0.99) alone, in pieces and all at once."""
    # given
    random = np.random.default_rng(3)
    sizes = [(640, 320), (64, 64), (33, 90), (500, 500), (1, 1), (64, 200), (320, 640)]
    pictures = [
        Image.fromarray(random.choice([0, 255], size=(4, 4, 3)).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        for size in sizes
    ]
    model = yolo(tmp_path / "model.onnx")
    answers = [
        well(OnnxDetector(model=model, manifest=manifest("yolo"), batch=batch).infer(pictures)) for batch in (1, 3, 16)
    ]

    # when / then
    for one, *others in zip(*answers, strict=True):
        for other in others:
            assert len(one) == len(other)
            for left, right in zip(one, other, strict=True):
                pair = [np.array([box_of(side)], dtype=np.float64) for side in (left, right)]
                assert overlaps(*pair)[0, 0] >= 0.99
    assert sum(len(one) for one in answers[0]) > 10


def test_boxes_are_cut_at_the_edges(tmp_path: Path) -> None:
    """A box that reaches into the fill of the letterbox is cut, one that lies wholly in it is dropped."""
    # given
    wanted = manifest("yolo", input={**INPUT, "fill": 0})
    detector = OnnxDetector(model=yolo(tmp_path / "model.onnx"), manifest=wanted)

    # when
    found = boxes_in(detector, scene((320, 240), (0, 0, 80, 240)))

    # then
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= 320
        assert 0 <= y1 < y2 <= 240
    assert [0, 0, 80, 40] in found


def test_numbers_that_are_not_finite_fail_their_picture(tmp_path: Path) -> None:
    """A model that answers with nan fails that picture as OUTPUT_INVALID."""
    # given
    wanted = manifest("yolo", input={**INPUT, "std": [1e-45, 1.0, 1.0], "scale": 1e38})
    detector = OnnxDetector(model=yolo(tmp_path / "model.onnx"), manifest=wanted)

    # when
    with np.errstate(all="ignore"):
        (answer,) = detector.infer([scene((64, 64), (0, 0, 30, 30))])

    # then
    assert isinstance(answer, ValueError)
    assert getattr(answer, "code", None) == "OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, "has no manifest"),
        ({"licence": "MIT"}, "has no manifest"),
        (manifest("logits"), "output is logits, and this inferrer reads xyxy-scores-labels or yolo"),
        (manifest("boxes"), "not valid: Invalid enum value 'boxes'"),
        (manifest("yolo", input={"size": [32, 32]}), r"shape \(3, 32, 32\) .*model's has"),
        (manifest("yolo", input={**INPUT, "resize": "squash"}), "not valid: Invalid enum value 'squash'"),
        (manifest("yolo", input={**INPUT, "sizes": 3}), "unknown field `sizes`"),
        (manifest("yolo", threshold=3), "threshold and nms_iou lie in 0 to 1"),
        (manifest("yolo", tiling={"size": [64, 64], "overlap": 1.0}), "overlap is below 1"),
    ],
)
def test_what_does_not_fit_is_a_sentence(tmp_path: Path, given: Manifest | None, sentence: str) -> None:
    """A manifest that is missing, wrong or does not fit its model is told when the model is loaded."""
    path = yolo(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=sentence):
        OnnxDetector(model=path, manifest=given)


def test_files_and_devices_are_checked(tmp_path: Path) -> None:
    """What is no ONNX file, and a device that is not there, are told."""
    words = tmp_path / "words.onnx"
    words.write_text("no model")
    with pytest.raises(ValueError, match=r"words\.onnx cannot be loaded as an ONNX model"):
        OnnxDetector(model=words, manifest=manifest("yolo"))
    with pytest.raises(ValueError, match="'tpu' is no device"):
        OnnxDetector(model=yolo(tmp_path / "model.onnx"), manifest=manifest("yolo"), device="tpu")


def test_platform_runs_it_as_an_expansion(tmp_path: Path) -> None:
    """Named in a stage that expands, with a model and its manifest, it answers children."""
    # given
    picture = tmp_path / "capture.png"
    scene((640, 320), (160, 0, 320, 160)).save(picture)
    wanted = runtime(
        "limner.systems.antenna.onnx_detector:OnnxDetector",
        reads={"image": FileRead(upright=False)},
        outputs={"box": Anything(), "score": Number(least=0, most=1), "origin": Text(), "classifications": Anything()},
        kind=StageKind.EXPAND,
        identity=("box",),
        model=model_ref(**manifest("yolo"), licence="MIT"),
    )

    # when
    outcomes = run_files(Host(wanted, model_path=yolo(tmp_path / "model.onnx")), picture)

    # then
    assert codes_of(outcomes) == [None]
    assert [child["box"] for child in values_of(outcomes)[0]] == [[160, 0, 320, 160]]


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
