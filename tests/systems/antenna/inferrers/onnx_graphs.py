"""Small ONNX detectors, classifiers and feature models that the tests make: they really look at the pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Side of the input, and of the cells in which the detectors look for what is dark.
SIDE = 64
CELL = 16
_GRID = SIDE // CELL
LABELS = [{"id": "0", "name": "no red"}, {"id": "1", "name": "no blue"}]
INPUT: dict[str, object] = {"size": [SIDE, SIDE], "resize": "letterbox", "fill": 255}

Nodes = list[onnx.NodeProto]
Constants = dict[str, np.ndarray]


def yolo(path: Path, *, batch: int | str = "batch", sure: bool = False) -> Path:
    """A detector of dark cells: (batch, 6, 16), or with *sure* (batch, 16, 7) with a fifth number that is 1."""
    nodes, constants = _cells()
    nodes += [
        helper.make_node("Mul", ["first", "nothing"], ["empty"]),
        helper.make_node("Add", ["empty", "boxes"], ["placed"]),
    ]
    parts = ["placed", "darkness"]
    if sure:
        nodes.append(helper.make_node("Add", ["empty", "one"], ["objectness"]))
        parts.insert(1, "objectness")
    nodes.append(helper.make_node("Concat", parts, ["columns"], axis=1))
    nodes.append(
        helper.make_node("Transpose", ["columns"], ["found"], perm=[0, 2, 1])
        if sure
        else helper.make_node("Identity", ["columns"], ["found"])
    )
    constants["boxes"] = _centred().T[np.newaxis].astype(np.float32)
    shape = [batch, _GRID**2, 7] if sure else [batch, 6, _GRID**2]
    return _written(path, nodes, constants, batch=batch, outputs={"found": (TensorProto.FLOAT, shape)})


def lists(path: Path, *, batched: bool = True) -> Path:
    """A detector of dark cells with three outputs: (batch, 16, 4), (batch, 16), (batch, 16), or without the batch."""
    nodes, constants = _cells()
    nodes += [
        helper.make_node("ReduceMax", ["darkness"], ["scores"], axes=[1], keepdims=0),
        helper.make_node("ArgMax", ["darkness"], ["labels"], axis=1, keepdims=0),
        helper.make_node("Unsqueeze", ["scores", "last"], ["column"]),
        helper.make_node("Mul", ["column", "nothing"], ["empty"]),
        helper.make_node("Add", ["empty", "boxes"], ["edges"]),
    ]
    constants["last"] = np.array([2], dtype=np.int64)
    centres, halves = _centred()[:, :2], _centred()[:, 2:] / 2
    constants["boxes"] = np.hstack([centres - halves, centres + halves])[np.newaxis].astype(np.float32)
    count = _GRID**2
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64)
    names = ["edges", "scores", "labels"]
    shapes: list[list[int | str]] = [["batch", count, 4], ["batch", count], ["batch", count]]
    if not batched:
        nodes += [helper.make_node("Squeeze", [name, "front"], [f"{name}_alone"]) for name in names]
        constants["front"] = np.array([0], dtype=np.int64)
        names = [f"{name}_alone" for name in names]
        shapes = [shape[1:] for shape in shapes]
    outputs = {name: (kind, shape) for name, kind, shape in zip(names, kinds, shapes, strict=True)}
    return _written(path, nodes, constants, batch="batch" if batched else 1, outputs=outputs)


def linear(path: Path, *, classes: int, batch: int | str = "batch", scale: float = 10.0) -> Path:
    """Class or number n is *scale* times the mean of channel n % 3, less n / 10 of it."""
    matrix = np.zeros((3, classes), dtype=np.float32)
    matrix[np.arange(classes) % 3, np.arange(classes)] = scale * (1 - np.arange(classes) / 10)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["answer"]),
    ]
    outputs = {"answer": (TensorProto.FLOAT, [batch, classes])}
    return _written(path, nodes, {"matrix": matrix}, batch=batch, outputs=outputs)


def _cells() -> tuple[Nodes, Constants]:
    """What is missing of red and of blue in each cell: ``darkness`` (batch, 2, 16), ``first`` its first class."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["pooled", "flat"], ["cells"]),
        helper.make_node("Gather", ["cells", "red_and_blue"], ["light"], axis=1),
        helper.make_node("Sub", ["one", "light"], ["darkness"]),
        helper.make_node("Gather", ["darkness", "front_class"], ["first"], axis=1),
    ]
    constants: Constants = {
        "flat": np.array([0, 3, _GRID**2], dtype=np.int64),
        "red_and_blue": np.array([0, 2], dtype=np.int64),
        "front_class": np.array([0], dtype=np.int64),
        "one": np.array([1], dtype=np.float32),
        "nothing": np.array([0], dtype=np.float32),
    }
    return nodes, constants


def _centred() -> np.ndarray:
    """Centre, width and height of each cell, row by row: (16, 4)."""
    places = (np.arange(_GRID) + 0.5) * CELL
    down, right = np.meshgrid(places, places, indexing="ij")
    sizes = np.full(_GRID**2, CELL)
    return np.stack([right.ravel(), down.ravel(), sizes, sizes], axis=1)


def _written(
    path: Path,
    nodes: Nodes,
    constants: Constants,
    *,
    batch: int | str,
    outputs: Mapping[str, tuple[int, Sequence[int | str]]],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
