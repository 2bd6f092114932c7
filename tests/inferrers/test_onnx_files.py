"""An ONNX file is tried before it is added, and preprocessing is written into a copy."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from limner.errors import UsageError
from limner.inferrers.onnx import OnnxModel
from limner.inferrers.onnx_files import check_onnx, licence_of, with_preprocessing
from limner.inferrers.preprocessing import PRESETS
from tests.inferrers.onnx_models import (
    SQUASH_8,
    adding_model,
    doubling_model,
    infinite_model,
    moody_model,
    picture_model,
    wide_picture_model,
    write_model,
)


def test_good_models_pass(tmp_path: Path) -> None:
    """Picture models and plain ones pass, with the number of their dimensions."""
    # when
    wide = check_onnx(wide_picture_model(tmp_path / "wide.onnx", dims=4096))
    double = check_onnx(doubling_model(tmp_path / "double.onnx", length="length"))
    total = check_onnx(adding_model(tmp_path / "sum.onnx"))

    # then
    assert (wide.problems, wide.warnings, wide.pictures, wide.dims) == ((), (), True, 4096)
    assert (double.problems, double.pictures, double.dims) == ((), False, 8)
    assert (total.problems, total.pictures, total.dims) == ((), False, 1)


def test_fixed_batch_is_a_warning(tmp_path: Path) -> None:
    """A fixed batch axis works, and is said to be slow."""
    report = check_onnx(picture_model(tmp_path / "one.onnx", batch=1, wanted=SQUASH_8))
    assert report.problems == ()
    assert "fixed to 1" in report.warnings[0]


def test_bad_models_are_named(tmp_path: Path) -> None:
    """Infinite answers, answers that depend on neighbours, more than one axis, and no ONNX at all are problems."""
    # given
    words = tmp_path / "words.onnx"
    words.write_text("no model")
    flat = write_model(
        tmp_path / "flat.onnx",
        [onnx.helper.make_node("Identity", ["image"], ["same"])],
        inputs={"image": ("batch", 3, 8, 8)},
        outputs={"same": ("batch", 3, 8, 8)},
        metadata={"limner.input": SQUASH_8},
    )

    # when
    sentences = {
        path.stem: check_onnx(path).problems
        for path in (words, flat, infinite_model(tmp_path / "inf.onnx"), moody_model(tmp_path / "moody.onnx"))
    }

    # then
    assert "cannot be loaded" in sentences["words"][0]
    assert "shape (3, 8, 8)" in sentences["flat"][0]
    assert "not finite" in sentences["inf"][0]
    assert "A batch of 16 answers otherwise" in sentences["moody"][0]


def test_preprocessing_is_written_into_a_copy(tmp_path: Path) -> None:
    """The copy carries preprocessing and licence, answers by it, and the original stays as it was."""
    # given
    source = picture_model(tmp_path / "bare.onnx", size=96)
    before = source.read_bytes()
    copy = tmp_path / "new" / "model.onnx"

    # when
    with_preprocessing(source, copy, preset_or_json="unit96-squash", licence="CC0-1.0")

    # then
    assert source.read_bytes() == before
    assert OnnxModel(copy).pictures == PRESETS["unit96-squash"].input
    assert licence_of(copy) == "CC0-1.0"
    assert check_onnx(copy).problems == ()
    assert check_onnx(copy).dims == 3


def test_preprocessing_is_taken_from_json(tmp_path: Path) -> None:
    """A JSON document, as text or file, takes the place of a preset, and older entries are replaced."""
    # given
    source = picture_model(tmp_path / "bare.onnx", wanted={"size": [8, 8], "resize": "squash", "scale": 1.0})
    document = '{"input": {"size": [8, 8], "resize": "squash"}, "output": {"normalise": "none"}}'
    (tmp_path / "own.json").write_text(document)

    # when
    for number, given in enumerate((document, str(tmp_path / "own.json"))):
        copy = tmp_path / f"copy-{number}.onnx"
        with_preprocessing(source, copy, preset_or_json=given, licence="MIT")

        # then
        wanted = OnnxModel(copy).pictures
        assert wanted is not None
        assert np.isclose(wanted.scale, 1 / 255)


def test_same_copy_has_the_same_bytes(tmp_path: Path) -> None:
    """Writing twice gives equal files, so that digests agree."""
    source = picture_model(tmp_path / "bare.onnx", size=96)
    for name in ("one", "two"):
        with_preprocessing(source, tmp_path / name, preset_or_json="unit96-squash", licence="MIT")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("imagenet-squash", "presets are: imagenet224-squash"),
        ('{"input": {"size": [8, 8]}}', "missing required field `resize`"),
        ("{not json", "is not valid"),
    ],
)
def test_unknown_preprocessing_is_a_usage_error(tmp_path: Path, given: str, sentence: str) -> None:
    """What is neither preset, file nor document is told, and nothing is written."""
    source = picture_model(tmp_path / "bare.onnx")
    with pytest.raises(UsageError, match=sentence):
        with_preprocessing(source, tmp_path / "copy.onnx", preset_or_json=given, licence="MIT")
    assert not (tmp_path / "copy.onnx").exists()


def test_only_onnx_files_are_copied(tmp_path: Path) -> None:
    """A pickle or any other file is no ONNX file."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x95\x10\0\0\0")
    with pytest.raises(UsageError, match="is no ONNX file"):
        with_preprocessing(path, tmp_path / "copy.onnx", preset_or_json="clip224", licence="MIT")
