"""The small picture model: right, rebuildable, and one file that says how to feed it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from limner.systems.catalogue import features_model
from limner.systems.catalogue.codes import Floats


def share_in_own_group(vectors: Floats, groups: list[int]) -> float:
    """The share of pictures whose nearest other picture is of the same group."""
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    numbers = np.array(groups)
    return float(np.mean(numbers[likeness.argmax(axis=1)] == numbers))


def test_i13_small_model_is_right(shipped_model: Path, photographed: tuple[list[Image.Image], list[int]]) -> None:
    """On plates it was not built from, the nearest picture is the same plate for at least 97 %."""
    # given
    pictures, groups = photographed

    # when
    vectors = features_model.infer_features(shipped_model, pictures)

    # then
    assert share_in_own_group(vectors, groups) >= 0.97


@pytest.mark.real_data
def test_i13_small_model_on_real_pictures(shipped_model: Path, shared_data: Path) -> None:
    """On pictures that the project did not draw, the nearest is of the same group for at least 97 %."""
    # given
    folder = shared_data / "catalogue"
    rows = json.loads((folder / "expected.json").read_text())["pictures"]
    names = [name for name, row in rows.items() if row["group"] is not None]
    pictures = [Image.open(folder / "pictures" / name).convert("RGB") for name in names]

    # when
    vectors = features_model.infer_features(shipped_model, pictures)

    # then
    assert len(names) == 48
    assert share_in_own_group(vectors, [rows[name]["group"] for name in names]) >= 0.97


@pytest.mark.slow
def test_i13_rebuilt_file_agrees(shipped_model: Path, drawn: list[Image.Image], tmp_path: Path) -> None:
    """The command builds the shipped model again: every vector agrees to a cosine of 0.9999."""
    # given
    rebuilt = tmp_path / "features.onnx"

    # when
    status = features_model.main(["--out", str(rebuilt)])

    # then
    assert status == 0
    again = features_model.infer_features(rebuilt, drawn[:50])
    shipped = features_model.infer_features(shipped_model, drawn[:50])
    assert float((again * shipped).sum(axis=1).min()) >= 0.9999
    assert abs(rebuilt.stat().st_size - 540_000) < 10_000


def test_i11_batch_changes_nothing(shipped_model: Path, drawn: list[Image.Image]) -> None:
    """A picture has the same vector alone and among sixteen."""
    # when
    together = features_model.infer_features(shipped_model, drawn[:16])
    alone = np.concatenate([features_model.infer_features(shipped_model, [picture]) for picture in drawn[:16]])

    # then
    assert float((together * alone).sum(axis=1).min()) >= 0.9999


def test_vectors_are_unit_and_finite_for_plain_pictures(shipped_model: Path) -> None:
    """Pictures without any pattern, where filters answer nothing, still have finite vectors of length 1."""
    # given
    plain = [Image.new("RGB", (50, 70), colour) for colour in ("black", "white", "red", (127, 127, 127))]

    # when
    vectors = features_model.infer_features(shipped_model, plain)

    # then
    assert vectors.shape == (4, 128)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_model_says_how_to_feed_it(shipped_model: Path) -> None:
    """Preprocessing, output and licence travel in the file, and fed by them the graph gives the same vectors."""
    # given
    model = onnx.load(shipped_model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    wanted, output = json.loads(said["limner.input"]), json.loads(said["limner.output"])
    picture = Image.effect_mandelbrot((160, 120), (-2, -1.2, 1, 1.2), 50).convert("RGB")

    # when
    squashed = picture.resize((wanted["size"][1], wanted["size"][0]), Image.Resampling.BILINEAR)
    pixels = (np.asarray(squashed, dtype=np.float32) * wanted["scale"] - wanted["mean"]) / wanted["std"]
    fed = pixels.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    session = features_model.open_session(shipped_model.read_bytes())
    (found,) = session.run([output["tensor"]], {session.get_inputs()[0].name: fed})

    # then
    assert (wanted["resize"], wanted["interpolation"], wanted["layout"]) == ("squash", "bilinear", "NCHW")
    assert (wanted["channels"], output["normalise"], said["limner.licence"]) == ("RGB", "l2", "CC0-1.0")
    assert float(found[0] @ features_model.infer_features(shipped_model, [picture])[0]) >= 0.9999
    assert model.opset_import[0].version >= 17
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_measures_are_those_of_the_model(shipped_model: Path, drawn: list[Image.Image]) -> None:
    """The numbers handed to a refit, projected by the file's own constants, are the model's answers."""
    # given
    constants = {one.name: numpy_helper.to_array(one) for one in onnx.load(shipped_model).graph.initializer}

    # when
    measures = features_model.measure(drawn[:5])
    projected = (measures - constants["mean"]) @ constants["matrix"]
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)

    # then
    assert measures.shape == (5, 972)
    assert projected == pytest.approx(features_model.infer_features(shipped_model, drawn[:5]), abs=1e-5)


def test_too_few_pictures_are_refused() -> None:
    """A projection to more numbers than there are pictures is refused with both figures."""
    with pytest.raises(ValueError, match="128 components need at least 129 pictures; there are 12"):
        features_model.fit(np.zeros((12, 972), dtype=np.float32))
