"""How a picture becomes the input tensor of a model, as the model file's own metadata says it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct, structs
from PIL import Image

from limner.errors import InferrerBroken, UsageError

INPUT_KEY = "limner.input"
OUTPUT_KEY = "limner.output"
LICENCE_KEY = "limner.licence"

Floats = npt.NDArray[np.float32]


class PictureInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata entry ``limner.input``: channel = (value · scale - mean) / std, after resizing."""

    #: Height and width that the model takes.
    size: tuple[int, int]
    #: ``squash`` ignores the aspect ratio; ``short_side_crop`` resizes the shorter side, then crops the centre.
    resize: Literal["squash", "short_side_crop"]
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    #: Pixels of the shorter side before the crop; by default what the crop needs.
    short_side: int | None = None
    scale: float = 1 / 255
    #: One number a channel, in the order of *channels*.
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "GREY"] = "RGB"

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other."""
        count = 1 if self.channels == "GREY" else 3
        if len(self.mean) != count or len(self.std) != count:
            raise ValueError(f"mean and std need {count} numbers for channels {self.channels}")
        if 0 in self.std or min(self.size) < 1:
            raise ValueError("std must not be 0 and size not below 1")
        if self.short_side is not None and self.short_side < max(self.size):
            raise ValueError(f"short_side {self.short_side} is smaller than the crop {self.size}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one picture in the tensor."""
        count = len(self.mean)
        return (count, *self.size) if self.layout == "NCHW" else (*self.size, count)


class TensorOutput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata entry ``limner.output``: which tensor is the answer, and what is done to it."""

    #: Name of the output tensor; the first if None.
    tensor: str | None = None
    #: ``l2`` divides each row by its Euclidean length.
    normalise: Literal["l2", "none"] = "none"


class Preprocessing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both entries, as a preset or a JSON document holds them."""

    input: PictureInput
    output: TensorOutput = TensorOutput(normalise="l2")


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_CROP = PictureInput(
    size=(224, 224), resize="short_side_crop", short_side=256, mean=_IMAGENET_MEAN, std=_IMAGENET_STD
)

#: Presets by name; each gives L2-normalised output.
PRESETS = {
    # VGG16 as in Wellcome Collection's catalogue: the aspect ratio is not kept.
    "imagenet224-squash": Preprocessing(
        input=PictureInput(size=(224, 224), resize="squash", mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    ),
    # torchvision's classifiers: shorter side 256, centre 224.
    "imagenet224-crop": Preprocessing(input=_IMAGENET_CROP),
    # DINOv2 ViT-S/14 and its sisters.
    "dinov2-224": Preprocessing(input=structs.replace(_IMAGENET_CROP, interpolation="bicubic")),
    # CLIP ViT-B/32, picture tower.
    "clip224": Preprocessing(
        input=PictureInput(
            size=(224, 224), resize="short_side_crop", interpolation="bicubic", mean=_CLIP_MEAN, std=_CLIP_STD
        )
    ),
    # RGB in 0…1, as the small model that ships with Limner.
    "unit96-squash": Preprocessing(input=PictureInput(size=(96, 96), resize="squash")),
}


def preprocessing_of(preset_or_json: str) -> Preprocessing:
    """
    The preset of that name, or a JSON document ``{"input": {…}, "output": {…}}``, as text or the name of its file.

    Raises:
        UsageError: it is none of these; the sentence says what is wrong with it.
    """
    if preset_or_json in PRESETS:
        return PRESETS[preset_or_json]
    text = preset_or_json
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise UsageError(f"There is no preset or file {text}; presets are: {', '.join(PRESETS)}.")
        text = path.read_text(encoding="utf-8")
    try:
        return msgspec.json.decode(text, type=Preprocessing)
    except msgspec.MsgspecError as error:
        raise UsageError(f"The preprocessing is not valid: {error}") from error


def read_metadata(metadata: dict[str, str]) -> tuple[PictureInput | None, TensorOutput]:
    """
    What a model file's metadata says of its input (None where it takes no pictures) and its output.

    Raises:
        InferrerBroken: an entry cannot be understood.
    """
    try:
        found = metadata.get(INPUT_KEY)
        taken = None if found is None else msgspec.json.decode(found, type=PictureInput)
        return taken, msgspec.json.decode(metadata.get(OUTPUT_KEY) or "{}", type=TensorOutput)
    except msgspec.MsgspecError as error:
        raise InferrerBroken(f"The model's metadata ({INPUT_KEY}, {OUTPUT_KEY}) is not valid: {error}") from error


def metadata_of(wanted: Preprocessing, *, licence: str) -> dict[str, str]:
    """The metadata entries that *wanted* is written as."""
    return {
        INPUT_KEY: json.dumps(msgspec.to_builtins(wanted.input), sort_keys=True),
        OUTPUT_KEY: json.dumps(msgspec.to_builtins(wanted.output), sort_keys=True),
        LICENCE_KEY: licence,
    }


def prepare(pictures: Sequence[Image.Image], *, wanted: PictureInput) -> Floats:
    """The RGB *pictures* as one tensor, shape (n, channels, height, width) or (n, height, width, channels)."""
    pixels = np.stack([_resized(picture, wanted=wanted) for picture in pictures]).astype(np.float32)
    mean, std = np.array(wanted.mean, dtype=np.float32), np.array(wanted.std, dtype=np.float32)
    if wanted.channels == "BGR":
        pixels = pixels[..., ::-1]
    tensor = (pixels * np.float32(wanted.scale) - mean) / std
    if wanted.layout == "NCHW":
        tensor = tensor.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tensor, dtype=np.float32)


def _resized(picture: Image.Image, *, wanted: PictureInput) -> npt.NDArray[np.uint8]:
    """One picture at the model's size, shape (height, width, channels)."""
    # Colour before size: a palette or alpha would be resized wrongly.
    colours = picture.convert("L" if wanted.channels == "GREY" else "RGB")
    height, width = wanted.size
    filtering = Image.Resampling[wanted.interpolation.upper()]
    if wanted.resize == "squash":
        sized = colours.resize((width, height), filtering)
    else:
        sized = _centre(_short_side(colours, pixels=wanted.short_side or max(wanted.size), filtering=filtering), wanted)
    return np.asarray(sized, dtype=np.uint8).reshape(height, width, -1)


def _short_side(picture: Image.Image, *, pixels: int, filtering: Image.Resampling) -> Image.Image:
    # The longer side is cut to whole pixels, as torchvision does.
    width, height = picture.size
    if width <= height:
        return picture.resize((pixels, max(pixels, pixels * height // width)), filtering)
    return picture.resize((max(pixels, pixels * width // height), pixels), filtering)


def _centre(picture: Image.Image, wanted: PictureInput) -> Image.Image:
    height, width = wanted.size
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))
