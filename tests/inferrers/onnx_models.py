"""ONNX models of a few nodes that the tests make."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Size = int | str

SQUASH_8: dict[str, object] = {"size": [8, 8], "resize": "squash"}


def write_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: dict[str, Sequence[Size]],
    outputs: dict[str, Sequence[Size]],
    constants: dict[str, np.ndarray] | None = None,
    metadata: dict[str, object] | None = None,
    input_type: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
) -> Path:
    """A model file of *nodes*; *metadata* is written as JSON."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, output_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def picture_model(
    path: Path,
    *,
    batch: Size = "batch",
    layout: str = "NCHW",
    size: int = 8,
    channels: int = 3,
    wanted: dict[str, object] | None = None,
    output: dict[str, object] | None = None,
) -> Path:
    """
    A model that answers with the mean of each channel.

    Without *wanted* it carries no preprocessing.
    """
    shape = (batch, channels, size, size) if layout == "NCHW" else (batch, size, size, channels)
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    metadata: dict[str, object] = {}
    if wanted is not None:
        metadata = {"limner.input": {**wanted, "layout": layout}, "limner.output": output or {}}
    nodes = [helper.make_node("ReduceMean", ["image"], ["means"], axes=axes, keepdims=0)]
    return write_model(path, nodes, inputs={"image": shape}, outputs={"means": (batch, channels)}, metadata=metadata)


def wide_picture_model(path: Path, *, dims: int) -> Path:
    """A model that answers with *dims* numbers for each picture of 8 × 8."""
    matrix = np.random.default_rng(2).normal(size=(192, dims)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "m"], ["wide"])]
    return write_model(
        path,
        nodes,
        inputs={"image": ("batch", 3, 8, 8)},
        outputs={"wide": ("batch", dims)},
        constants={"m": matrix},
        metadata={"limner.input": SQUASH_8, "limner.output": {"normalise": "l2"}},
    )


def doubling_model(path: Path, *, length: Size = 3) -> Path:
    """A model that doubles a vector."""
    nodes = [helper.make_node("Mul", ["vector", "two"], ["doubled"])]
    two = np.array([2], dtype=np.float32)
    return write_model(
        path,
        nodes,
        inputs={"vector": ("batch", length)},
        outputs={"doubled": ("batch", length)},
        constants={"two": two},
    )


def adding_model(path: Path) -> Path:
    """A model that adds two numbers, each given as a table of one column."""
    nodes = [helper.make_node("Add", ["left", "right"], ["sum"])]
    return write_model(path, nodes, inputs={"left": ("batch", 1), "right": ("batch", 1)}, outputs={"sum": ("batch", 1)})


def moody_model(path: Path) -> Path:
    """A model whose answer depends on its neighbours: it subtracts the mean of the batch."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["means"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["means", "mean"], ["answer"]),
        helper.make_node("Add", ["answer", "one"], ["moody"]),
    ]
    return write_model(
        path,
        nodes,
        inputs={"image": ("batch", 3, 8, 8)},
        outputs={"moody": ("batch", 3)},
        constants={"one": np.array([0.1, 0.2, 0.3], dtype=np.float32)},
        metadata={"limner.input": SQUASH_8},
    )


def infinite_model(path: Path) -> Path:
    """A model that divides by zero."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["means", "zero"], ["answer"]),
    ]
    return write_model(
        path,
        nodes,
        inputs={"image": ("batch", 3, 8, 8)},
        outputs={"answer": ("batch", 3)},
        constants={"zero": np.array([0], dtype=np.float32)},
        metadata={"limner.input": SQUASH_8},
    )
