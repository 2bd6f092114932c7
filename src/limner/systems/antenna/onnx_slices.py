"""Runs a model on the slices of pictures that boxes name; a slice that cannot be cut fails alone."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from limner.systems.antenna.boxes import slice_of
from limner.systems.antenna.onnx_manifest import Manifest
from limner.systems.antenna.onnx_pictures import Array, OnnxPictures


class Read(Protocol):
    """Makes an answer of the model's first output for one slice; a ValueError where it is none."""

    def __call__(self, output: Array, *, manifest: Manifest) -> dict[str, object]:
        """The answer."""
        ...


def run_slices(
    model: OnnxPictures,
    pictures: Sequence[Image.Image],
    boxes: Sequence[Sequence[int]],
    *,
    margin: float,
    read: Read,
) -> list[dict[str, object] | Exception]:
    """For each picture and box what *read* makes of the model's output, or why there is none."""
    answers: list[dict[str, object] | Exception] = []
    slices: list[tuple[int, Image.Image]] = []
    for picture, box in zip(pictures, boxes, strict=True):
        try:
            part = slice_of(picture, box, margin=margin)
            side = model.manifest.window and round(model.manifest.window * max(picture.size))
            slices.append((len(answers), framed(part, side=side, fill=model.manifest.input.fill) if side else part))
            answers.append({})
        except (OSError, ValueError) as error:
            answers.append(error)
    ran = model.run([part for _, part in slices])
    for (at, _), (outputs, _) in zip(slices, ran, strict=True):
        try:
            answers[at] = read(outputs[0], manifest=model.manifest)
        except ValueError as error:
            answers[at] = error
    return answers


def framed(part: Image.Image, *, side: int, fill: int) -> Image.Image:
    """*part* in the middle of a square of *side* pixels, or of its own longer side if that is larger."""
    longer = max(side, *part.size)
    square = Image.new("RGB", (longer, longer), (fill,) * 3)
    square.paste(part, ((longer - part.width) // 2, (longer - part.height) // 2))
    return square
