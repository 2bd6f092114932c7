"""Runs an ONNX model on pictures of any sizes: each resized by itself, in batches that memory can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from limner.systems.antenna.onnx_manifest import Manifest, Output, PictureInput, read_manifest

Array = npt.NDArray[np.generic]
Doubles = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
#: Axes of one picture's part of the first output; a model whose output has no more takes one picture at a time.
_AXES = {"xyxy-scores-labels": 2, "yolo": 2, "logits": 1, "embedding": 1}
#: onnxruntime's level for errors: its warnings go to the standard error stream of the worker.
_ERRORS_ONLY = 3


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where in the model's input a picture lies: input = picture · scale + shift, for x and for y."""

    scale: tuple[float, float]
    shift: tuple[float, float]

    def back(self, boxes: Doubles) -> Doubles:
        """*boxes* (n, 4) of the input in pixels of the picture."""
        found: Doubles = (boxes - np.tile(self.shift, 2)) / np.tile(self.scale, 2)
        return found


class OnnxPictures:
    """A loaded model with its manifest."""

    def __init__(
        self,
        model: Path,
        *,
        manifest: Mapping[str, object] | None,
        outputs: tuple[Output, ...],
        device: str = "cpu",
        threads: int = 1,
        batch: int = 8,
    ) -> None:
        """
        Load *model* for *device* (``cpu``, ``cuda`` or ``cuda:N``); at most *batch* pictures are run at once.

        Raises:
            ValueError: file, manifest and device do not fit together; the sentence says what.
        """
        if batch < 1 or threads < 1:
            raise ValueError("batch and threads are at least 1")
        self._session = _opened(model, device=device, threads=threads)
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.manifest: Manifest = read_manifest(manifest, metadata, outputs=outputs)
        taken = self._session.get_inputs()
        if len(taken) != 1:
            raise ValueError(f"the model takes {len(taken)} inputs; one, the picture, is wanted")
        self._input = taken[0]
        if self._input.type not in _TYPES:
            raise ValueError(f"the model's input has type {self._input.type}, which cannot be made of a picture")
        _refuse_shape(self._input.shape, wanted=self.manifest.input)
        self._fixed, self._batch = self._sizes(batch)

    def run(self, pictures: Sequence[Image.Image]) -> list[tuple[list[Array], Placed]]:
        """For each of the RGB *pictures* its part of every output, and where in the input it lay."""
        found: list[tuple[list[Array], Placed]] = []
        for start in range(0, len(pictures), self._batch):
            prepared = [prepared_of(one, wanted=self.manifest.input) for one in pictures[start : start + self._batch]]
            parts = self._run([pixels for pixels, _ in prepared])
            found += [(part, placed) for part, (_, placed) in zip(parts, prepared, strict=True)]
        return found

    def _run(self, pixels: Sequence[Bytes]) -> list[list[Array]]:
        tensor = tensor_of(pixels, wanted=self.manifest.input).astype(_TYPES[self._input.type], copy=False)
        count = len(tensor)
        if self._fixed and count < self._fixed:
            tensor = np.concatenate([tensor, np.repeat(tensor[-1:], self._fixed - count, axis=0)])
        outputs = [np.asarray(one) for one in self._session.run(None, {self._input.name: tensor})]
        if outputs[0].ndim == _AXES[self.manifest.output]:
            return [outputs]
        if any(len(one) != len(tensor) for one in outputs):
            raise ValueError(f"the model answered {len(tensor)} pictures with outputs of another length")
        return [[one[row] for one in outputs] for row in range(count)]

    def _sizes(self, batch: int) -> tuple[int | None, int]:
        """How many pictures the model insists on, and how many are run at once."""
        axes = len(self._session.get_outputs()[0].shape or ())
        if axes == _AXES[self.manifest.output]:
            return None, 1
        first = self._input.shape[0]
        return (first, first) if isinstance(first, int) else (None, batch)


def prepared_of(picture: Image.Image, *, wanted: PictureInput) -> tuple[Bytes, Placed]:
    """*picture* at the model's size, (height, width, 3), and where in it the picture lies."""
    height, width = wanted.size
    colours = picture if picture.mode == "RGB" else picture.convert("RGB")
    if wanted.resize == "stretch":
        inner, left, top = (width, height), 0, 0
    else:
        part = min(width / colours.width, height / colours.height)
        inner = (max(1, round(colours.width * part)), max(1, round(colours.height * part)))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    sized = colours.resize(inner, Image.Resampling.BILINEAR)
    if inner != (width, height):
        ground = Image.new("RGB", (width, height), (wanted.fill,) * 3)
        ground.paste(sized, (left, top))
        sized = ground
    placed = Placed(scale=(inner[0] / colours.width, inner[1] / colours.height), shift=(left, top))
    return np.asarray(sized, dtype=np.uint8), placed


def tensor_of(pixels: Sequence[Bytes], *, wanted: PictureInput) -> npt.NDArray[np.float32]:
    """Pictures of the model's size as its input: (n, 3, height, width) or (n, height, width, 3)."""
    stacked = np.stack(pixels).astype(np.float32)
    if wanted.channels == "BGR":
        stacked = stacked[..., ::-1]
    mean, std = (np.array(numbers, dtype=np.float32) for numbers in (wanted.mean, wanted.std))
    tensor = (stacked * np.float32(wanted.scale) - mean) / std
    if wanted.layout == "NCHW":
        tensor = tensor.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tensor, dtype=np.float32)


def activated(numbers: Array, *, how: str) -> Doubles:
    """*numbers*, classes last, as scores: softmax over the classes, sigmoid of each, or as they are."""
    values = np.asarray(numbers, dtype=np.float64)
    if how == "softmax":
        raised = np.exp(values - values.max(axis=-1, keepdims=True))
        softened: Doubles = raised / raised.sum(axis=-1, keepdims=True)
        return softened
    # tanh does not overflow where exp would.
    return 0.5 * (1 + np.tanh(values / 2)) if how == "sigmoid" else values


def _refuse_shape(shape: Sequence[object], *, wanted: PictureInput) -> None:
    if len(shape) != 4 or any(
        isinstance(size, int) and size != asked for size, asked in zip(shape[1:], wanted.shape, strict=True)
    ):
        raise ValueError(
            f"the manifest's input has shape {wanted.shape} ({wanted.layout}), but the model's has {list(shape)}"
        )


def _opened(model: Path, *, device: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"{device!r} is no device; write cpu, cuda or cuda:N")
    provider: str | tuple[str, dict[str, str]] = "CPUExecutionProvider"
    if kind == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ValueError(f"the device {device} needs the package onnxruntime-gpu and a graphics card")
        provider = ("CUDAExecutionProvider", {"device_id": number or "0"})
    try:
        return onnxruntime.InferenceSession(model.read_bytes(), options, providers=[provider])
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors share no public base class
        raise ValueError(f"{model.name} cannot be loaded as an ONNX model: {error}") from error
