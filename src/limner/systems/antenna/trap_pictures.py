"""Makes nights at an insect trap, seeded: a lit board, insects that move over it, their exact boxes and tracks."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from limner.systems.antenna.trap_insects import DEBRIS, INSECTS, Look, drawn, look

Floats = npt.NDArray[np.float32]

#: Where the scale bar and the camera's text are, as parts of width and height: what a detector may be told to ignore.
SCALE_BAR = (0.41, 0.395, 0.5, 0.445)
CAMERA_TEXT = (0.9, 0.965, 1.0, 1.0)
#: Longest extent of a thing as a part of the picture's longer side, by label.
SIZES = {"large": (0.062, 0.11), "medium": (0.029, 0.042), "small": (0.0165, 0.0205), "debris": (0.013, 0.021)}
_SHARES = {"large": 0.2, "medium": 0.35, "small": 0.25, "debris": 0.2}
#: Longest sides between one label and the next, as parts of the longer side.
_LARGE, _MEDIUM = 0.05, 0.0235
#: Free space between two things, as a part of the longer side; closer, a detector without a model joins them.
_GAP = 0.012
_TRIES = 200
_EXIF_TIME, _EXIF_TAKEN = 0x0132, 0x9003
_FIRST = datetime(2022, 7, 28, 23, 22, 39)  # noqa: DTZ001  cameras write local times without a zone
_BETWEEN = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One insect, or bit of debris, in one frame."""

    #: The same in every frame of the night.
    track: str
    kind: str
    #: large, medium, small or debris.
    label: str
    #: The pixels that show it: x1, y1, x2, y2, the last two excluded.
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class TrapFrame:
    """One picture of a night, and all that is on it."""

    #: Name of its file, with the time in it as cameras write it.
    name: str
    taken_at: datetime
    image: Image.Image
    things: tuple[Thing, ...]

    def jpeg(self, *, quality: int = 90) -> bytes:
        """The picture as a file, with the time in its EXIF."""
        exif = Image.Exif()
        exif[_EXIF_TIME] = exif[_EXIF_TAKEN] = self.taken_at.strftime("%Y:%m:%d %H:%M:%S")
        buffer = io.BytesIO()
        self.image.save(buffer, "JPEG", quality=quality, exif=exif)
        return buffer.getvalue()


@dataclass(kw_only=True)
class _Animal:
    """What a night knows of a thing from frame to frame."""

    track: str
    label: str
    look: Look
    length: float
    angle: float
    centre: tuple[float, float]
    #: Frames in which it is there.
    there: frozenset[int] = field(default_factory=frozenset)


def night(
    *,
    seed: int,
    frames: int = 5,
    things: int = 14,
    size: tuple[int, int] = (2048, 1080),
    first: datetime = _FIRST,
    between: timedelta = _BETWEEN,
    furniture: bool = True,
) -> Iterator[TrapFrame]:
    """
    *frames* pictures of *size* (width, height) of one board, *between* apart; the same for the same arguments.

    Insects sit, crawl or fly on; some come later, leave early, or are away for one frame. Debris lies still. Nothing
    overlaps, so that every box can be told. *furniture*: whether there are a scale bar and the camera's text. With
    ``things=0`` the board is empty.
    """
    random = np.random.default_rng([seed, 11])
    board = empty_board(size, seed=seed, furniture=furniture)
    animals = [_animal(number, random, size=size, frames=frames) for number in range(things)]
    grain = random.normal(0, 2.0, size=(size[1] + 64, size[0] + 64)).astype(np.float32)
    for at in range(frames):
        taken = first + at * between
        image = board.copy()
        shown = list(_placed(image, [one for one in animals if at in one.there], random, first=at == 0))
        if furniture:
            _write_time(image, taken)
        yield TrapFrame(
            name=f"{taken:%Y%m%d%H%M%S}-{at + 1:02}-snapshot.jpg",
            taken_at=taken,
            image=_with_grain(image, grain, random),
            things=tuple(shown),
        )


def empty_board(size: tuple[int, int], *, seed: int, furniture: bool = True) -> Image.Image:
    """The board without insects: uneven light, streaks of wood, a few pale stains, a scale bar."""
    random = np.random.default_rng([seed, 12])
    width, height = size
    image = Image.fromarray(_lit(random, width=width, height=height).round().astype(np.uint8))
    for _ in range(3):
        _stain(image, random)
    if furniture:
        _draw_scale_bar(image)
    return image


def label_of(box: Sequence[int], *, size: tuple[int, int]) -> str:
    """Large, medium or small, by the longest side of an insect's *box* in a picture of *size*."""
    part = max(box[2] - box[0], box[3] - box[1]) / max(size)
    return "large" if part >= _LARGE else "medium" if part >= _MEDIUM else "small"


def write_night(folder: Path, frames: Iterator[TrapFrame]) -> list[Path]:
    """Write each of *frames* as a JPEG into *folder*, and all boxes and tracks into ``truth.json`` beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    pictures: dict[str, list[dict[str, object]]] = {}
    for frame in frames:
        paths.append(folder / frame.name)
        paths[-1].write_bytes(frame.jpeg())
        pictures[frame.name] = [
            {**dict(zip(("x1", "y1", "x2", "y2"), one.box, strict=True)), "track": one.track, "label": one.label}
            for one in frame.things
        ]
    (folder / "truth.json").write_text(json.dumps({"pictures": pictures}, indent=1) + "\n", encoding="utf-8")
    return paths


def _animal(number: int, random: np.random.Generator, *, size: tuple[int, int], frames: int) -> _Animal:
    label = str(random.choice(list(_SHARES), p=list(_SHARES.values())))
    least, most = SIZES[label]
    kinds = DEBRIS if label == "debris" else INSECTS if label != "small" else ("beetle", "fly", "resting")
    there = set(range(frames))
    if label != "debris" and frames > 2:
        chance = random.random()
        if chance < 0.15:
            there -= set(range(int(random.integers(1, frames))))
        elif chance < 0.3:
            there -= set(range(int(random.integers(1, frames)), frames))
        elif chance < 0.4:
            there.discard(int(random.integers(1, frames - 1)))
    return _Animal(
        track=f"{label}-{number}",
        label=label,
        look=look(str(random.choice(kinds)), seed=int(random.integers(2**31))),
        length=float(random.uniform(least, most)) * max(size),
        angle=float(random.uniform(0, 360)),
        centre=(float(random.uniform(0.04, 0.96) * size[0]), float(random.uniform(0.06, 0.94) * size[1])),
        there=frozenset(there),
    )


def _placed(
    image: Image.Image, animals: Sequence[_Animal], random: np.random.Generator, *, first: bool
) -> Iterator[Thing]:
    """Draw debris, then *animals*, largest first, each near where it was; one without room is left out."""
    taken: list[tuple[int, int, int, int]] = [_pixels(part, image.size) for part in (SCALE_BAR, CAMERA_TEXT)]
    gap = max(2, round(_GAP * max(image.size)))
    for one in sorted(animals, key=lambda animal: (animal.label != "debris", -animal.length)):
        if not first and one.label != "debris":
            _move(one, random)
        patch = drawn(one.look, length=one.length, angle=one.angle)
        for step in range(_TRIES):
            reach = one.length * step / 8
            x, y = (one.centre[axis] + float(random.uniform(-reach, reach)) for axis in (0, 1))
            left, top = round(x - patch.width / 2), round(y - patch.height / 2)
            box = (left, top, left + patch.width, top + patch.height)
            if _free(box, taken, gap=gap, size=image.size):
                one.centre = (x, y)
                taken.append(box)
                _stick(image, patch, (left, top))
                label = one.label if one.label == "debris" else label_of(box, size=image.size)
                yield Thing(track=one.track, kind=one.look.kind, label=label, box=box)
                break


def _move(one: _Animal, random: np.random.Generator) -> None:
    """Most sit nearly still, some crawl and turn, a few walk on by several lengths."""
    chance = random.random()
    reach, turn = (0.06, 4.0) if chance < 0.6 else (0.5, 30.0) if chance < 0.85 else (1.6, 90.0)
    one.centre = (
        one.centre[0] + float(random.normal(0, reach * one.length)),
        one.centre[1] + float(random.normal(0, reach * one.length)),
    )
    one.angle += float(random.normal(0, turn))


def _free(
    box: tuple[int, int, int, int], taken: Sequence[tuple[int, int, int, int]], *, gap: int, size: tuple[int, int]
) -> bool:
    x1, y1, x2, y2 = box
    if x1 < 1 or y1 < 1 or x2 > size[0] - 1 or y2 > size[1] - 1:
        return False
    return all(x2 + gap <= a1 or a2 + gap <= x1 or y2 + gap <= b1 or b2 + gap <= y1 for a1, b1, a2, b2 in taken)


def _stick(image: Image.Image, patch: Image.Image, corner: tuple[int, int]) -> None:
    """Lay *patch* on the board, with the soft shadow that a lamp above gives it."""
    soft = max(1.0, max(patch.size) / 40)
    shadow = patch.getchannel("A").filter(ImageFilter.GaussianBlur(soft)).point(lambda alpha: alpha // 12)
    image.paste((40, 36, 48), (corner[0] + round(soft), corner[1] + round(soft)), shadow)
    image.paste(patch, corner, patch)


def _lit(random: np.random.Generator, *, width: int, height: int) -> Floats:
    """The bare board, (height, width, 3): brightest near the middle, a little purple in the corners, streaked."""
    down, right = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32), indexing="ij"
    )
    x, y = (float(place) for place in random.uniform(-0.25, 0.25, size=2))
    far = ((right - x) ** 2 + 0.5 * (down - y) ** 2)[..., np.newaxis]
    tint = np.array([24, 32, 20], dtype=np.float32) * np.float32(random.uniform(0.7, 1.3))
    light = np.float32(random.uniform(218, 232)) - tint * far
    # Wood: noise that is smooth along the board and rough across it.
    rough = random.normal(0, 1, size=(height, max(2, width // 48))).astype(np.float32)
    streaks = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip(light + 2.5 * streaks[..., np.newaxis], 0, 240)


def _stain(image: Image.Image, random: np.random.Generator) -> None:
    """A pale brown patch with soft edges."""
    radius = max(2, round(float(random.uniform(0.004, 0.015)) * max(image.size)))
    x, y = (round(float(random.uniform(0.05, 0.95)) * side) for side in image.size)
    veil = Image.new("L", (4 * radius, 4 * radius), 0)
    ImageDraw.Draw(veil).ellipse((radius, radius, 3 * radius, 3 * radius), fill=int(random.integers(14, 30)))
    image.paste((150, 110, 70), (x - 2 * radius, y - 2 * radius), veil.filter(ImageFilter.GaussianBlur(radius / 3)))


def _draw_scale_bar(image: Image.Image) -> None:
    """Two rows of squares in turn black and white, between grey ends."""
    x1, y1, x2, y2 = _pixels(SCALE_BAR, image.size)
    draw = ImageDraw.Draw(image)
    wide, high = (x2 - x1) / 12, (y2 - y1) / 4
    for column in range(2, 10):
        row = 1 + column % 2
        draw.rectangle(
            (x1 + column * wide, y1 + row * high, x1 + (column + 1) * wide, y1 + (row + 1) * high), fill=(40, 40, 48)
        )
    for column in (1, 10):
        draw.rectangle((x1 + column * wide, y1 + high, x1 + (column + 0.8) * wide, y1 + 3 * high), fill=(128, 128, 142))


def _write_time(image: Image.Image, taken: datetime) -> None:
    x1, y1, _, y2 = _pixels(CAMERA_TEXT, image.size)
    font = ImageFont.load_default(max(4, round((y2 - y1) * 0.5)))
    ImageDraw.Draw(image).text((x1, y1), f"{taken:%Y-%m-%d %H:%M:%S}", fill=(60, 60, 66), font=font)


def _with_grain(image: Image.Image, grain: Floats, random: np.random.Generator) -> Image.Image:
    """The picture with the camera's noise: one field for the night, looked at elsewhere in every frame."""
    down, right = (int(number) for number in random.integers(0, 64, size=2))
    part = grain[down : down + image.height, right : right + image.width, np.newaxis]
    noisy = np.asarray(image, dtype=np.float32) + part
    return Image.fromarray(np.clip(noisy.round(), 0, 255).astype(np.uint8))


def _pixels(part: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    return (
        round(part[0] * size[0]),
        round(part[1] * size[1]),
        round(part[2] * size[0]),
        round(part[3] * size[1]),
    )
