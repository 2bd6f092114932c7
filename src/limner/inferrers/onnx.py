"""Inferrer that runs any ONNX file: pictures by the preprocessing in its metadata, or plain vectors and numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken
from limner.inferrers.base import Inferrer, OutputsMiscounted, Want
from limner.inferrers.preprocessing import PictureInput, TensorOutput, prepare, read_metadata

Array: TypeAlias = npt.NDArray[np.generic]

_CODE = "onnx:1"
_PARAMS = ("device", "threads", "output")
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
#: onnxruntime's level for errors: its warnings go to the standard error stream of the worker.
_ERRORS_ONLY = 3


class OnnxInferrer(Inferrer):
    """
    Answers ``{"vector": row}``, or ``{"value": number}`` where a row is one number; `output` names it otherwise.

    Parameters: ``device`` (``cpu`` or ``cuda:N``), ``threads`` (one by default, so that two processes share two
    cores well) and ``output``. A file with a fixed batch axis is run in pieces of that size, the last one filled up.
    """

    def __init__(self, runtime: Runtime, *, model_path: Path | None, device: str | None = None) -> None:
        """
        Load the model; *device* is the worker's, where the parameters name none.

        Raises:
            InferrerBroken: there is no model, it cannot be loaded, or stage and model do not fit.
        """
        unknown = [name for name in runtime.params if name not in _PARAMS]
        if unknown:
            raise InferrerBroken(
                f"The inferrer `onnx` takes no parameter {', '.join(unknown)}; it takes: {', '.join(_PARAMS)}."
            )
        if model_path is None:
            raise InferrerBroken("The inferrer `onnx` needs a model, but its stage names none; write model='name@1'.")
        self._model = OnnxModel(
            model_path,
            device=str(runtime.params.get("device") or device or "cpu"),
            threads=int(runtime.params.get("threads", 1)),
        )
        self._name: str | None = runtime.params.get("output")
        self._tensors = _tensor_by_read(runtime, self._model)

    def describe(self) -> Description:
        """Always the same: the model is part of the version by itself, and runtimes agree on what it computes."""
        return describe_onnx()

    def wants(self) -> Mapping[str, Want]:
        """A decoded picture where the model carries preprocessing, else values as they stand."""
        want = Want.PICTURE if self._model.pictures else Want.VALUE
        return dict.fromkeys(self._tensors, want)

    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """One run for the batch."""
        count = len(next(iter(columns.values())))
        absent = [any(column[index] is None for column in columns.values()) for index in range(count)]
        outputs: list[object] = [ValueError("a model cannot be run on an absent value")] * count
        present = [index for index in range(count) if not absent[index]]
        if present:
            tensors = {
                self._tensors[name]: self._model.tensor(self._tensors[name], [column[index] for index in present])
                for name, column in columns.items()
            }
            for index, row in zip(present, self._model.run(tensors, count=len(present)), strict=True):
                outputs[index] = self._named(row)
        return outputs

    def _named(self, row: object) -> object:
        if isinstance(row, Exception):
            return row
        return {self._name or ("vector" if isinstance(row, np.ndarray) else "value"): row}


class OnnxModel:
    """An ONNX file that is loaded, with what its metadata says about pictures and output."""

    #: How a picture becomes its input; None for a model that takes no pictures.
    pictures: PictureInput | None

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 1) -> None:
        """
        Load *path* for *device*.

        Raises:
            InferrerBroken: it is no ONNX file, its metadata do not fit it, or the device is not to be had.
        """
        self._session = _open_session(path, device=device, threads=threads)
        taken = self._session.get_inputs()
        self._inputs = {one.name: one for one in taken}
        #: The metadata entries of the file.
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.pictures, output = read_metadata(self.metadata)
        self._output = _checked_output(output, names=[one.name for one in self._session.get_outputs()])
        self._normalise = output.normalise == "l2"
        if self.pictures:
            _check_pictures(self.pictures, inputs=taken)

    @property
    def inputs(self) -> list[str]:
        """Names of the tensors that it takes."""
        return list(self._inputs)

    @property
    def fixed_batch(self) -> int | None:
        """Rows that it takes at once, where the file fixes their number."""
        first = next(iter(self._inputs.values())).shape
        return first[0] if first and isinstance(first[0], int) else None

    def shape_of(self, tensor: str) -> list[int | None]:
        """The shape of one row of the input *tensor*; None where it is free."""
        return [size if isinstance(size, int) else None for size in self._inputs[tensor].shape[1:]]

    def type_of(self, tensor: str) -> type[np.generic]:
        """The type of the input *tensor*."""
        name = self._inputs[tensor].type
        if name not in _TYPES:
            raise InferrerBroken(f"The model's input {tensor} has type {name}, which cannot be fed.")
        return _TYPES[name]

    def tensor(self, name: str, rows: Sequence[object]) -> Array:
        """*rows*, decoded pictures or values, as the input tensor *name*."""
        kind = self.type_of(name)
        if self.pictures:
            return prepare([_picture(row) for row in rows], wanted=self.pictures).astype(kind, copy=False)
        stacked = np.asarray(rows, dtype=kind)
        if stacked.ndim == 1 and len(self._inputs[name].shape) == 2:
            # One number a record, and the model takes a table of one column.
            return stacked[:, np.newaxis]
        return stacked

    def run(self, tensors: Mapping[str, Array], *, count: int) -> list[object]:
        """One row for each of *count*: an array, a number or a text; an exception where it cannot be normalised."""
        size = self.fixed_batch
        answers: Array
        if size is None:
            answers = self._run(tensors)
        else:
            starts = range(0, count, size)
            answers = np.concatenate([self._piece(tensors, start=start, size=size) for start in starts])
        if len(answers) != count:
            raise OutputsMiscounted(f"The model answered {count} rows with {len(answers)}.")
        return [self._row(answer) for answer in answers]

    def _piece(self, tensors: Mapping[str, Array], *, start: int, size: int) -> Array:
        pieces = {name: tensor[start : start + size] for name, tensor in tensors.items()}
        length = len(next(iter(pieces.values())))
        if length < size:
            pieces = {name: np.concatenate([p, np.repeat(p[-1:], size - length, axis=0)]) for name, p in pieces.items()}
        return self._run(pieces)[:length]

    def _run(self, tensors: Mapping[str, Array]) -> Array:
        answer = self._session.run([self._output], dict(tensors))[0]
        if not isinstance(answer, np.ndarray) or answer.ndim < 1:
            raise InferrerBroken(f"The model's output {self._output} is no tensor with a row for each record.")
        return answer

    def _row(self, row: Value) -> object:
        if np.ndim(row) == 0 or np.size(row) == 1:
            return np.asarray(row).ravel()[0].item() if not isinstance(row, str) else row
        if not self._normalise:
            return np.ascontiguousarray(row)
        vector = np.asarray(row, dtype=np.float64).ravel()
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0.0:
            return FailedRecord(
                FailureCode.OUTPUT_INVALID, f"The model's vector has length {length} and cannot be made a unit vector."
            )
        return (vector / length).astype(np.float32)


def describe_onnx() -> Description:
    """The description of every ONNX inferrer."""
    return Description(code=_CODE)


def _open_session(path: Path, *, device: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors share no base class
        raise InferrerBroken(f"{path.name} cannot be loaded as an ONNX model: {error}") from error
    if device != "cpu" and session.get_providers()[0] != "CUDAExecutionProvider":
        # onnxruntime falls back to the CPU without an error; that would be slow and unseen.
        raise InferrerBroken(f"The model was to run on {device}, but CUDA could not be started there.")
    return session


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    kind, _, number = device.partition(":")
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if kind != "cuda" or not (number or "0").isdigit():
        raise InferrerBroken(f"{device!r} is no device; write cpu or cuda:0.")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise InferrerBroken(f"The model is to run on {device}, which needs the package onnxruntime-gpu.")
    return [("CUDAExecutionProvider", {"device_id": number or "0"}), "CPUExecutionProvider"]


def _checked_output(output: TensorOutput, *, names: list[str]) -> str:
    if output.tensor is None:
        return names[0]
    if output.tensor not in names:
        raise InferrerBroken(f"The model has no output {output.tensor}; it has: {', '.join(names)}.")
    return output.tensor


def _check_pictures(wanted: PictureInput, *, inputs: list[onnxruntime.NodeArg]) -> None:
    """Whether the tensor that the preprocessing makes is the one that the graph takes."""
    if len(inputs) != 1:
        raise InferrerBroken(f"A picture model takes one input; this one takes {', '.join(i.name for i in inputs)}.")
    shape = inputs[0].shape
    fits = len(shape) == 4 and all(
        not isinstance(size, int) or size == made for size, made in zip(shape[1:], wanted.shape, strict=True)
    )
    if not fits:
        raise InferrerBroken(
            f"The preprocessing makes pictures of shape {wanted.shape} ({wanted.layout}), but the model's input "
            f"{inputs[0].name} has shape {shape}."
        )


def _tensor_by_read(runtime: Runtime, model: OnnxModel) -> dict[str, str]:
    """Which input tensor each read feeds: by name, or the only one by the only one."""
    files = [name for name, read in runtime.reads.items() if read]
    if files and not model.pictures:
        raise InferrerBroken(
            f"The stage reads the file {files[0]}, but the model carries no preprocessing (metadata limner.input); "
            "add it with: limner models add NAME FILE --preprocess imagenet224-squash"
        )
    if model.pictures and len(files) != len(runtime.reads):
        raise InferrerBroken("The model takes pictures, so its stage reads one file and nothing else.")
    if len(runtime.reads) == len(model.inputs) == 1:
        return dict(zip(runtime.reads, model.inputs, strict=True))
    if set(runtime.reads) != set(model.inputs):
        raise InferrerBroken(
            f"The model takes {', '.join(model.inputs)}, but its stage reads {', '.join(runtime.reads)}."
        )
    return {name: name for name in runtime.reads}


def _picture(row: object) -> Image.Image:
    if not isinstance(row, Image.Image):
        raise TypeError(f"the model takes pictures, and a {type(row).__name__} came")
    return row
