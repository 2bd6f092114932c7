"""Any ONNX file runs: pictures by the preprocessing in its metadata, vectors and numbers as they are."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from limner.domain.outputs import Vector
from limner.domain.reads import FileRead
from limner.domain.values import Value, encode
from limner.errors import InferrerBroken
from limner.inferrers.connect import load_inferrer
from limner.inferrers.host import Host
from limner.inferrers.onnx import OnnxModel
from limner.inferrers.preprocessing import PRESETS, PictureInput, prepare
from tests.inferrers.cases import codes_of, model_ref, run_files, run_values, runtime, values_of
from tests.inferrers.onnx_models import SQUASH_8, adding_model, doubling_model, picture_model, wide_picture_model

IMAGE: dict[str, FileRead | None] = {"image": FileRead()}
COLOURS = [(200, 30, 40), (20, 180, 60), (30, 60, 210)]


def plain_pictures(folder: Path) -> list[Path]:
    """Three pictures of one colour each."""
    paths = [folder / f"{number}.png" for number in range(3)]
    for path, colour in zip(paths, COLOURS, strict=True):
        Image.new("RGB", (20, 13), colour).save(path)
    return paths


def host_of(path: Path, **params: Value) -> Host:
    """A host of the picture model at *path*."""
    return Host(runtime("onnx", reads=IMAGE, params=params, model=model_ref()), model_path=path)


def vectors_of(host: Host, *paths: Path) -> np.ndarray:
    """The vectors that *host* answers for *paths*."""
    outcomes = run_files(host, *paths)
    assert codes_of(outcomes) == [None] * len(paths)
    return np.stack([value["vector"] for value in values_of(outcomes)])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["batch", 1, 2, 5])
def test_layouts_and_batch_axes(tmp_path: Path, layout: str, batch: int | str) -> None:
    """Both layouts, a free batch axis and any fixed one give each picture its own answer."""
    # given
    path = picture_model(tmp_path / "means.onnx", batch=batch, layout=layout, wanted=SQUASH_8)

    # when
    found = vectors_of(host_of(path), *plain_pictures(tmp_path))

    # then
    assert found.dtype == np.float32
    assert np.allclose(found, np.array(COLOURS) / 255, atol=1e-6)


def test_scale_mean_std_and_order_of_channels(tmp_path: Path) -> None:
    """Each channel is scaled, shifted and divided by its own numbers, in the order that the model takes."""
    # given
    wanted = {**SQUASH_8, "channels": "BGR", "scale": 1.0, "mean": [1.0, 2.0, 3.0], "std": [10.0, 20.0, 30.0]}
    path = picture_model(tmp_path / "means.onnx", wanted=wanted)

    # when
    (found,) = vectors_of(host_of(path), plain_pictures(tmp_path)[0])

    # then
    assert np.allclose(found, [(40 - 1) / 10, (30 - 2) / 20, (200 - 3) / 30], atol=1e-4)


def test_grey_models(tmp_path: Path) -> None:
    """A model of one channel is given luminance."""
    wanted = {**SQUASH_8, "channels": "GREY", "mean": [0.0], "std": [1.0], "scale": 1.0}
    path = picture_model(tmp_path / "grey.onnx", channels=1, wanted=wanted)
    (outcome,) = run_files(host_of(path), plain_pictures(tmp_path)[0])
    assert values_of([outcome])[0]["value"] == pytest.approx(0.299 * 200 + 0.587 * 30 + 0.114 * 40, abs=1)


def test_l2_makes_unit_vectors(tmp_path: Path) -> None:
    """With l2 each row has length 1; a row of zeros fails its record alone."""
    # given
    path = picture_model(tmp_path / "means.onnx", wanted=SQUASH_8, output={"tensor": "means", "normalise": "l2"})
    red, black = plain_pictures(tmp_path)[0], tmp_path / "black.png"
    Image.new("RGB", (9, 9)).save(black)

    # when
    outcomes = run_files(host_of(path), red, black, red)

    # then
    assert codes_of(outcomes) == [None, "OUTPUT_INVALID", None]
    assert np.linalg.norm(values_of(outcomes)[0]["vector"]) == pytest.approx(1, abs=1e-6)


def test_dims_follow_the_model_and_the_field_its_name(tmp_path: Path) -> None:
    """A model of 4096 numbers fits a stage that declares as many, under the name that it asks for."""
    # given
    path = wide_picture_model(tmp_path / "wide.onnx", dims=4096)
    wanted = runtime(
        "onnx",
        reads=IMAGE,
        params={"output": "embedding"},
        outputs={"embedding": Vector(length=4096, unit=True)},
        model=model_ref(),
    )

    # when
    outcomes = run_files(Host(wanted, model_path=path), *plain_pictures(tmp_path))

    # then
    assert codes_of(outcomes) == [None, None, None]


def test_grey_and_transparent_pictures_spare_their_batch(tmp_path: Path) -> None:
    """Pictures of one and of four channels run beside others."""
    # given
    grey, alpha = tmp_path / "grey.png", tmp_path / "alpha.png"
    Image.new("L", (5, 5), 51).save(grey)
    Image.new("RGBA", (5, 5), (0, 0, 0, 0)).save(alpha)
    path = picture_model(tmp_path / "means.onnx", wanted=SQUASH_8)

    # when
    found = vectors_of(host_of(path), grey, alpha)

    # then
    assert np.allclose(found, [[0.2] * 3, [1.0] * 3], atol=1e-6)


def test_squash_and_crop_differ() -> None:
    """Squashing keeps the whole picture, cropping the middle of it."""
    # given
    picture = Image.new("RGB", (64, 16), "black")
    picture.paste("white", (24, 0, 40, 16))

    # when
    squashed, cropped = (
        prepare([picture], wanted=PictureInput(size=(16, 16), resize=way, interpolation="box"))
        for way in ("squash", "short_side_crop")
    )

    # then
    assert squashed.shape == cropped.shape == (1, 3, 16, 16)
    assert squashed.mean() == pytest.approx(0.25)
    assert cropped.mean() == pytest.approx(1.0)


def test_presets_keep_numbers_of_their_networks() -> None:
    """The preset of ImageNet takes a mid-grey picture to what torchvision's transform does."""
    # given
    picture = Image.new("RGB", (300, 200), (124, 116, 104))

    # when
    tensor = prepare([picture], wanted=PRESETS["imagenet224-squash"].input)

    # then
    wanted = (np.array([124, 116, 104]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert tensor.shape == (1, 3, 224, 224)
    assert np.allclose(tensor[0, :, 100, 100], wanted, atol=1e-5)
    for preset in PRESETS.values():
        assert prepare([picture], wanted=preset.input).shape == (1, *preset.input.shape)


def test_vectors_in_vectors_out(tmp_path: Path) -> None:
    """A model without pictures takes stored vectors, as lists or arrays."""
    # given
    path = doubling_model(tmp_path / "doubled.onnx")
    host = Host(runtime("onnx", model=model_ref()), model_path=path)

    # when
    outcomes = run_values(host, [1.0, 2.0, 3.0], np.array([4, 5, 6], dtype=np.float32), None)

    # then
    assert codes_of(outcomes) == [None, None, "MODEL_ERROR"]
    assert [value["vector"].tolist() for value in values_of(outcomes)[:2]] == [[2, 4, 6], [8, 10, 12]]


def test_numbers_in_number_out(tmp_path: Path) -> None:
    """Inputs are matched by name, a number is a column, and a lone number is answered as one."""
    # given
    path = adding_model(tmp_path / "sum.onnx")
    host = Host(runtime("onnx", reads={"left": None, "right": None}, model=model_ref()), model_path=path)

    # when
    ran = host.run({"left": [encode(1), encode(2)], "right": [encode(10), encode(20)]}, prior=[b"", b""])

    # then
    assert values_of(ran.outcomes) == [{"value": 11.0}, {"value": 22.0}]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"size": [16, 16], "resize": "squash"}, r"shape \(3, 16, 16\).* but the model's input image has shape"),
        ({"size": [8, 8], "resize": "stretch"}, "metadata .* is not valid: .*stretch"),
        ({"size": [8, 8], "resize": "squash", "mean": [0.5]}, "mean and std need 3 numbers"),
        ({"size": [8, 8], "resize": "squash", "std": [1.0, 0.0, 1.0]}, "std must not be 0"),
        ({"size": [8, 8], "resize": "squash", "colour": "RGB"}, "unknown field `colour`"),
        ({"size": [8, 8], "resize": "short_side_crop", "short_side": 4}, "short_side 4 is smaller than the crop"),
        (None, "carries no preprocessing"),
    ],
)
def test_wrong_preprocessing_is_named(tmp_path: Path, wanted: dict[str, object] | None, sentence: str) -> None:
    """Preprocessing that does not fit the model, or is missing, is a sentence when it is loaded."""
    path = picture_model(tmp_path / "means.onnx", wanted=wanted)
    with pytest.raises(InferrerBroken, match=sentence):
        host_of(path)


def test_wrong_layout_is_named(tmp_path: Path) -> None:
    """A model of the other layout is refused by its shape."""
    path = picture_model(tmp_path / "means.onnx", layout="NHWC", wanted=SQUASH_8)
    data = path.read_bytes().replace(b'"NHWC"', b'"NCHW"')
    path.write_bytes(data)
    with pytest.raises(InferrerBroken, match="NCHW"):
        host_of(path)


def test_what_does_not_fit_is_a_sentence(tmp_path: Path) -> None:
    """No model, no ONNX file, unknown parameters, outputs, devices and reads are told."""
    # given
    path = picture_model(tmp_path / "means.onnx", wanted=SQUASH_8)
    other = picture_model(tmp_path / "other.onnx", wanted=SQUASH_8, output={"tensor": "meens"})
    words = tmp_path / "words.onnx"
    words.write_text("no model")

    # when / then
    with pytest.raises(InferrerBroken, match="needs a model"):
        load_inferrer(runtime("onnx", reads=IMAGE), model_path=None)
    with pytest.raises(InferrerBroken, match=r"words\.onnx cannot be loaded"):
        host_of(words)
    with pytest.raises(InferrerBroken, match="no parameter divice; it takes: device, threads, output"):
        host_of(path, divice="cpu")
    with pytest.raises(InferrerBroken, match="has no output meens; it has: means"):
        host_of(other)
    with pytest.raises(InferrerBroken, match="'tpu' is no device"):
        host_of(path, device="tpu")
    with pytest.raises(InferrerBroken, match="reads one file and nothing else"):
        load_inferrer(runtime("onnx", reads={**IMAGE, "x": None}), model_path=path)
    with pytest.raises(InferrerBroken, match="takes left, right, but its stage reads x"):
        load_inferrer(runtime("onnx"), model_path=adding_model(tmp_path / "sum.onnx"))


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is installed")
def test_missing_cuda_is_told_not_replaced(tmp_path: Path) -> None:
    """A stage that asks for a graphics card never runs on the CPU unseen; the worker's device counts as well."""
    path = picture_model(tmp_path / "means.onnx", wanted=SQUASH_8)
    with pytest.raises(InferrerBroken, match="needs the package onnxruntime-gpu"):
        host_of(path, device="cuda:0")
    with pytest.raises(InferrerBroken, match="needs the package onnxruntime-gpu"):
        Host(runtime("onnx", reads=IMAGE, model=model_ref()), model_path=path, device="cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="no CUDA here")
def test_input_on_model_device(tmp_path: Path) -> None:
    """A graphics card and the CPU agree on every picture."""
    path = wide_picture_model(tmp_path / "wide.onnx", dims=64)
    pictures = plain_pictures(tmp_path)
    on_cpu, on_gpu = (vectors_of(host_of(path, device=device), *pictures) for device in ("cpu", "cuda:0"))
    assert float((on_cpu * on_gpu).sum(axis=1).min()) >= 0.999


def test_model_tells_its_metadata(tmp_path: Path) -> None:
    """What the file says of itself can be read."""
    model = OnnxModel(picture_model(tmp_path / "means.onnx", batch=4, wanted=SQUASH_8))
    assert model.fixed_batch == 4
    assert model.inputs == ["image"]
    assert "limner.input" in model.metadata
