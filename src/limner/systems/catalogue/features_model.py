"""Builds the small picture model: a fixed bank of Gabor filters and a learned projection in one ONNX file."""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from threadpoolctl import threadpool_limits

from limner.systems.catalogue import plates

Floats = npt.NDArray[np.float32]

#: Side of the square that a picture is squashed to.
SIDE = 96
#: Side of one cell over which filter answers are averaged.
_CELL = 16
_KERNEL = 11
#: Lifts filter answers, which are small, to the height of the mean colours beside them.
_LIFT = 6.0
#: Part of its spread by which a component is divided: 0 keeps PCA, 1 whitens.
_WHITENING = 0.25
_SHORTEST = 1e-6
_OPSET = 17
_LUMINANCE = (0.299, 0.587, 0.114)
_RED_GREEN = (0.5, -0.5, 0.0)
_BLUE_YELLOW = (0.25, 0.25, -0.5)
_CHANNELS = (_LUMINANCE, _RED_GREEN, _BLUE_YELLOW)
#: Numbers that the filters make of one picture: (24 filters + 3 mean channels) in a grid of 6 × 6.
MEASURES = (24 + len(_CHANNELS)) * (SIDE // _CELL) ** 2
#: Components kept, unless asked otherwise.
DIMS = 128
_PLATES = 800
_PLATES_SEED = 17
_LICENCE = "CC0-1.0"
_MEASURED_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What is learned: subtract *mean*, multiply by *matrix*."""

    #: Shape (972,).
    mean: Floats
    #: Shape (972, dims).
    matrix: Floats
    #: Share of the variance of the pictures it was fitted on that its components hold.
    explained: float


def prepare(pictures: Iterable[Image.Image]) -> Floats:
    """The pictures as the model's input: squashed to 96 × 96, RGB in 0…1, shape (n, 3, 96, 96)."""
    squashed = [picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR) for picture in pictures]
    pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in squashed]) / np.float32(255)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def measure(pictures: Iterable[Image.Image]) -> Floats:
    """
    The 972 numbers of each picture before the projection, shape (n, 972).

    They come from the very graph that the model file begins with, so a refitted projection fits the model.
    """
    session = open_session(_front_model().SerializeToString())
    found = [session.run(["measures"], {"image": prepare(batch)})[0] for batch in _batches(pictures)]
    return np.concatenate(found) if found else np.empty((0, MEASURES), dtype=np.float32)


def infer_features(model: Path, pictures: Iterable[Image.Image]) -> Floats:
    """The unit feature vectors that the model file at *model* gives for *pictures*, shape (n, dims)."""
    session = open_session(model.read_bytes())
    found = [session.run(["features"], {"image": prepare(batch)})[0] for batch in _batches(pictures)]
    return np.concatenate(found)


def fit(measures: Floats, *, dims: int = DIMS) -> Projection:
    """
    Principal components of *measures*, each divided by its standard deviation to the power of a quarter.

    Raises:
        ValueError: there are not enough pictures for *dims* components.
    """
    if not 1 <= dims <= MEASURES:
        raise ValueError(f"the projection has 1 to {MEASURES} components, not {dims}")
    if len(measures) <= dims:
        raise ValueError(f"{dims} components need at least {dims + 1} pictures; there are {len(measures)}")
    mean = measures.mean(axis=0, dtype=np.float64)
    centred = measures.astype(np.float64) - mean
    with threadpool_limits(limits=1):
        variances, directions = np.linalg.eigh(centred.T @ centred / len(measures))
    order = np.argsort(-variances, kind="stable")[:dims]
    kept = np.maximum(variances[order], np.finfo(np.float32).eps)
    basis = directions[:, order]
    # A component's sign is free: fix it, so that two machines build the same file.
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(dims)])
    return Projection(
        mean=mean.astype(np.float32),
        matrix=(basis / kept ** (_WHITENING / 2)).astype(np.float32),
        explained=float(kept.sum() / max(variances.sum(), np.finfo(np.float64).tiny)),
    )


def build(projection: Projection, *, manifest: dict[str, object]) -> bytes:
    """
    The whole model as the bytes of one ONNX file: input ``image``, output ``features``, preprocessing in its metadata.

    The graph itself ends with the division by the length (at least 1e-6), so any runtime gives unit vectors.
    """
    model = _front_model()
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("Sub", ["measures", "mean"], ["centred"]),
            helper.make_node("MatMul", ["centred", "matrix"], ["projected"]),
            helper.make_node("ReduceL2", ["projected"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Max", ["length", "shortest"], ["divisor"]),
            helper.make_node("Div", ["projected", "divisor"], ["features"]),
        ]
    )
    constants = {"mean": projection.mean, "matrix": projection.matrix, "shortest": np.array([_SHORTEST], np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del graph.output[:]
    dims = projection.matrix.shape[1]
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", dims]))
    for key, value in _metadata(manifest).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def build_from_plates(*, count: int = _PLATES, seed: int = _PLATES_SEED, dims: int = DIMS) -> bytes:
    """The model that ships with the package: its projection is fitted on *count* drawn plates."""
    projection = fit(measure(plates.plate(index, seed=seed).image for index in range(count)), dims=dims)
    return build(projection, manifest={"fitted_on": f"{count} drawn plates", "pictures": count, "seed": seed})


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread of the CPU: the same sums in the same order, every time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _front_model() -> onnx.ModelProto:
    """The fixed part: filters, absolute value, means over cells; ends in ``measures``, 972 numbers."""
    margin = _KERNEL // 2
    cell = [_CELL, _CELL]
    nodes = [
        helper.make_node("Conv", ["image", "gabor"], ["answers"], pads=[margin] * 4),
        helper.make_node("Abs", ["answers"], ["strengths"]),
        helper.make_node("AveragePool", ["strengths"], ["texture"], kernel_shape=cell, strides=cell),
        helper.make_node("Mul", ["texture", "lift"], ["lifted"]),
        helper.make_node("Conv", ["image", "channels"], ["opponents"]),
        helper.make_node("AveragePool", ["opponents"], ["colours"], kernel_shape=cell, strides=cell),
        helper.make_node("Concat", ["lifted", "colours"], ["cells"], axis=1),
        helper.make_node("Flatten", ["cells"], ["measures"], axis=1),
    ]
    constants = {
        "gabor": _gabor_bank(),
        "lift": np.array(_LIFT, dtype=np.float32),
        "channels": np.array(_CHANNELS, dtype=np.float32).reshape(len(_CHANNELS), 3, 1, 1),
    }
    graph = helper.make_graph(
        nodes,
        "limner-small-features",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["batch", MEASURES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="limner"
    )


def _gabor_bank() -> Floats:
    """24 filters over RGB, shape (24, 3, 11, 11): each a pattern on one mixture of the channels."""
    wanted = [
        *((_LUMINANCE, turn / 8, 4.0, 2.0) for turn in range(8)),
        *((_LUMINANCE, turn / 8, 8.0, 3.5) for turn in range(8)),
        *((_RED_GREEN, turn / 4, 8.0, 3.5) for turn in range(4)),
        *((_BLUE_YELLOW, turn / 4, 8.0, 3.5) for turn in range(4)),
    ]
    filters = [
        np.multiply.outer(np.array(mixture), _gabor(turn * math.pi, wavelength=wavelength, sigma=sigma))
        for mixture, turn, wavelength, sigma in wanted
    ]
    return np.stack(filters).astype(np.float32)


def _gabor(angle: float, *, wavelength: float, sigma: float) -> npt.NDArray[np.float64]:
    """A wave under a bell, without mean, its absolute values adding up to 1."""
    reach = _KERNEL // 2
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    along = right * math.cos(angle) + down * math.sin(angle)
    kernel = np.exp(-(right**2 + down**2) / (2 * sigma**2)) * np.cos(2 * math.pi * along / wavelength)
    kernel -= kernel.mean()
    normed: npt.NDArray[np.float64] = kernel / np.abs(kernel).sum()
    return normed


def _metadata(manifest: dict[str, object]) -> dict[str, str]:
    wanted_input = {
        "size": [SIDE, SIDE],
        "resize": "squash",
        "interpolation": "bilinear",
        "scale": 1 / 255,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "layout": "NCHW",
        "channels": "RGB",
    }
    built_with = {name: version_of(name) for name in ("numpy", "onnx", "onnxruntime", "pillow")}
    return {
        "limner.input": json.dumps(wanted_input, sort_keys=True),
        "limner.output": json.dumps({"tensor": "features", "normalise": "l2"}, sort_keys=True),
        "limner.licence": _LICENCE,
        "limner.manifest": json.dumps({**manifest, "versions": built_with}, sort_keys=True),
    }


def _batches(pictures: Iterable[Image.Image]) -> Iterator[Sequence[Image.Image]]:
    """Few at a time, so that a stream of pictures is never in memory whole."""
    stream = iter(pictures)
    while batch := list(islice(stream, _MEASURED_AT_ONCE)):
        yield batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the model that ships with the package to the file named by ``--out``."""
    parser = argparse.ArgumentParser(prog="limner.systems.catalogue.features_model", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the ONNX file")
    out: Path = parser.parse_args(arguments).out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(build_from_plates())
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
