"""The manifest of an ONNX model for pictures: how a picture becomes its input, and what its output means."""

import json
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

#: Metadata entry of an ONNX file that holds the manifest as JSON, where none comes beside the file.
METADATA_KEY = "antenna.manifest"

Output = Literal["xyxy-scores-labels", "yolo", "logits", "embedding"]


class PictureInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a picture becomes the input: resized, then channel = (value · scale - mean) / std."""

    #: Height and width that the model takes.
    size: tuple[int, int]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    #: ``stretch`` ignores the aspect ratio; ``letterbox`` keeps it and fills what is left, half on each side.
    resize: Literal["letterbox", "stretch"] = "stretch"
    #: Channel value of what a letterbox fills.
    fill: int = 114

    def __post_init__(self) -> None:
        """Refuse numbers that no picture can be brought to."""
        if min(self.size) < 1 or 0 in self.std or not 0 <= self.fill <= 255:
            raise ValueError("size must be at least 1, std must not be 0, and fill lies in 0 to 255")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one picture in the tensor."""
        return (3, *self.size) if self.layout == "NCHW" else (*self.size, 3)


class Tiling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture is cut into tiles, each is looked at alone, and boxes found twice are merged."""

    #: Height and width of a tile in stored pixels; a smaller picture is not cut.
    size: tuple[int, int]
    #: Part of a tile that it shares with its neighbour: at least as wide as the largest insect.
    overlap: float = 0.25

    def __post_init__(self) -> None:
        """Refuse tiles that do not advance."""
        if min(self.size) < 1 or not 0 <= self.overlap < 1:
            raise ValueError("a tile is at least 1 pixel high and wide, and its overlap is below 1")


class Label(Struct, frozen=True, kw_only=True):
    """A class that the model tells apart; its place in the list is its number."""

    id: str
    name: str


class Manifest(Struct, frozen=True, kw_only=True):
    """All of it; facts that no inferrer reads (``licence``, where it comes from) may stand beside these."""

    input: PictureInput
    output: Output
    #: What turns the numbers for the classes into scores; by default softmax for logits, else nothing.
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    #: Detections below this score are dropped.
    threshold: float = 0.25
    #: Of two boxes of a class that overlap by more, one is dropped; by default 0.5 for yolo and tiles, else no matter.
    nms_iou: float | None = None
    max_detections: int = 500
    #: Labels in an answer; the scores of all others stand in ``full``.
    top_k: int = 10
    labels: tuple[Label, ...] = ()
    tiling: Tiling | None = None
    #: Lay a detection's slice, undistorted, in the middle of a square of this part of the picture's longer side, so
    #: that a classifier sees how large it is; None shows the slice alone. A larger slice is its own square.
    window: float | None = None
    #: Whether boxes are in pixels of the input or in parts of its width and height.
    coordinates: Literal["pixels", "parts"] = "pixels"

    def __post_init__(self) -> None:
        """Refuse numbers out of range and tiles for a model that finds nothing."""
        if not 0 <= self.threshold <= 1 or not 0 <= (self.nms_iou or 0) <= 1:
            raise ValueError("threshold and nms_iou lie in 0 to 1")
        if self.max_detections < 1 or self.top_k < 1:
            raise ValueError("max_detections and top_k are at least 1")
        if self.tiling and self.output in ("logits", "embedding"):
            raise ValueError("only a detector looks at tiles")
        if self.output == "xyxy-scores-labels" and self.activation == "softmax":
            raise ValueError("a list of boxes has one score each, and no softmax over classes")
        if self.window is not None and not 0 < self.window <= 1:
            raise ValueError("window is a part of the picture's longer side, above 0 and at most 1")

    @property
    def how_to_score(self) -> str:
        """The activation, the default filled in."""
        return self.activation or ("softmax" if self.output == "logits" else "none")

    @property
    def overlap_allowed(self) -> float | None:
        """The nms_iou, the default filled in."""
        if self.nms_iou is not None:
            return self.nms_iou
        return 0.5 if self.output == "yolo" or self.tiling else None

    def label(self, number: int) -> Label:
        """The label of class *number*; one that is named by its number where the manifest lists none."""
        if not self.labels:
            return Label(id=str(number), name=str(number))
        if not 0 <= number < len(self.labels):
            raise ValueError(
                f"the model answered with class {number}, but its manifest names {len(self.labels)} labels"
            )
        return self.labels[number]


def read_manifest(
    given: Mapping[str, object] | None, metadata: Mapping[str, str], *, outputs: tuple[Output, ...]
) -> Manifest:
    """
    The manifest *given* beside the file if it describes an input, else the one in the file's *metadata*.

    Raises:
        ValueError: there is none, it cannot be understood, or its output is none of *outputs*.
    """
    try:
        if given and "input" in given:
            found = msgspec.convert(dict(given), type=Manifest)
        elif METADATA_KEY in metadata:
            found = msgspec.convert(json.loads(metadata[METADATA_KEY]), type=Manifest)
        else:
            raise ValueError(
                "the model has no manifest; give it `input` and `output` beside the file, "
                f"or as JSON in its metadata entry {METADATA_KEY}"
            )
    except (msgspec.ValidationError, json.JSONDecodeError) as error:
        raise ValueError(f"the manifest of the model is not valid: {error}") from error
    if found.output not in outputs:
        raise ValueError(f"the model's output is {found.output}, and this inferrer reads {' or '.join(outputs)}")
    return found
