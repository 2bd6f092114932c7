"""Runs a model on the slices of pictures that boxes name; a slice that cannot be cut fails alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from PIL import Image

from limner.systems.antenna.boxes import MARGIN, slice_of
from limner.systems.antenna.onnx_manifest import Manifest, Output
from limner.systems.antenna.onnx_pictures import Array, OnnxPictures


class Read(Protocol):
    """Makes an answer of the model's first output for one slice; a ValueError where it is none."""

    def __call__(self, output: Array, *, manifest: Manifest) -> dict[str, object]:
        """The answer."""
        ...


class OnSlices:
    """What the inferrers of slices have in common: their model, and how much around a box it is shown."""

    #: Pillow decides how a slice is resized.
    environment = ("pillow",)
    #: What its models give for one slice.
    output: ClassVar[Output]

    def __init__(
        self,
        *,
        model: Path,
        manifest: Mapping[str, object] | None = None,
        margin: float = MARGIN,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 32,
    ) -> None:
        """
        Load *model*; *manifest* is the one beside it, else the file's own (see ``onnx_manifest``).

        *margin*: part of the box's size that is shown on each side beyond it.

        Raises:
            ValueError: file, manifest and device do not fit together.
        """
        self._model = OnnxPictures(
            model, manifest=manifest, outputs=(self.output,), device=device, threads=threads, batch=batch
        )
        self._margin = margin

    def run(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[int]], *, read: Read
    ) -> list[dict[str, object] | Exception]:
        """For each picture and box what *read* makes of the model's output, or why there is none."""
        manifest = self._model.manifest
        answers: list[dict[str, object] | Exception] = []
        slices: list[tuple[int, Image.Image]] = []
        for picture, box in zip(pictures, boxes, strict=True):
            try:
                part = slice_of(picture, box, margin=self._margin)
                side = manifest.window and round(manifest.window * max(picture.size))
                slices.append((len(answers), framed(part, side=side, fill=manifest.input.fill) if side else part))
                answers.append({})
            except (OSError, ValueError) as error:
                answers.append(error)
        ran = self._model.run([part for _, part in slices])
        for (at, _), (outputs, _) in zip(slices, ran, strict=True):
            try:
                answers[at] = read(outputs[0], manifest=manifest)
            except ValueError as error:
                answers[at] = error
        return answers


def framed(part: Image.Image, *, side: int, fill: int) -> Image.Image:
    """*part* in the middle of a square of *side* pixels, or of its own longer side if that is larger."""
    longer = max(side, *part.size)
    square = Image.new("RGB", (longer, longer), (fill,) * 3)
    square.paste(part, ((longer - part.width) // 2, (longer - part.height) // 2))
    return square
