"""Draws made-up insects and debris, seeded: ellipses with wings and legs, crumbs and hairs; nothing is copied."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
_Point = tuple[float, float]

#: Kinds that are insects, and kinds that only lie there.
INSECTS = ("moth", "resting", "beetle", "fly", "crane")
DEBRIS = ("crumb", "hair")
#: Alpha from which a pixel counts as part of what is drawn.
_VISIBLE = 96
_COLOURS: tuple[Colour, ...] = (
    (96, 62, 38), (58, 42, 36), (168, 98, 42), (196, 142, 64), (44, 44, 52),
    (120, 150, 62), (182, 160, 128), (142, 74, 66), (104, 96, 92),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one animal, or one bit of debris, looks in every frame."""

    kind: str
    body: Colour
    wing: Colour
    #: Seeds its spots and the shape of a crumb.
    seed: int
    #: Width of the wings, thickness of the body: 0 to 1.
    build: float


def look(kind: str, *, seed: int) -> Look:
    """A look of *kind*, drawn from *seed*."""
    random = np.random.default_rng([seed, 1])
    body, wing = (_COLOURS[int(number)] for number in random.integers(0, len(_COLOURS), size=2))
    if kind == "crumb":
        # Some crumbs are dark, some hardly darker than the board.
        tone = int(random.integers(95, 190))
        body = (tone, tone - 8, tone - 20)
    return Look(kind=kind, body=body, wing=wing, seed=seed, build=float(random.random()))


def drawn(one: Look, *, length: float, angle: float) -> Image.Image:
    """
    *one* as RGBA, cut to what is visible of it, its longest extent about *length* pixels, turned by *angle* degrees.

    What is visible, so the picture's size, is the exact box.
    """
    finer = 4 if length < 120 else 2
    half = max(4.0, length * finer / 2)
    side = 2 * math.ceil(half * 1.3)
    # Transparent pixels have the body's colour, so that turning leaves no dark fringe.
    canvas = Image.new("RGBA", (side, side), (*one.body, 0))
    _KINDS[one.kind](ImageDraw.Draw(canvas), one, _Pen(centre=side / 2, half=half))
    turned = canvas.rotate(angle, Image.Resampling.BICUBIC)
    small = turned.resize((max(1, side // finer), max(1, side // finer)), Image.Resampling.BOX)
    box = small.getchannel("A").point(lambda alpha: 255 if alpha >= _VISIBLE else 0).getbbox()
    return small.crop(box) if box else small.crop((0, 0, 1, 1))


@dataclass(frozen=True, kw_only=True)
class _Pen:
    """From places in -1 … 1 to pixels."""

    centre: float
    half: float

    def at(self, *places: _Point) -> list[_Point]:
        """Pixels of *places*."""
        return [(self.centre + x * self.half, self.centre + y * self.half) for x, y in places]

    def oval(self, x: float, y: float, wide: float, high: float) -> list[_Point]:
        """The rectangle around an ellipse about (x, y)."""
        return self.at((x - wide, y - high), (x + wide, y + high))

    def line(self, part: float) -> int:
        """The thickness of a line, in pixels."""
        return max(1, round(part * self.half))


def _moth(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """Spread wings, spots, a body and feelers."""
    wide = 0.75 + 0.2 * one.build
    for sign in (-1, 1):
        fore = pen.at((0, -0.4), (sign * wide, -0.55), (sign * wide * 0.9, -0.05), (0, 0.1))
        hind = pen.at((0, -0.05), (sign * wide * 0.8, 0.0), (sign * wide * 0.5, 0.5), (0, 0.35))
        draw.polygon(hind, fill=(*_darker(one.wing, 0.85), 235))
        draw.polygon(fore, fill=(*one.wing, 250))
    _spots(draw, one, pen, places=((0.35, -0.3), (0.55, -0.3), (0.3, 0.15), (0.45, -0.12)))
    draw.ellipse(pen.oval(0, -0.02, 0.1, 0.5), fill=(*one.body, 255))
    for sign in (-1, 1):
        draw.line(pen.at((0, -0.48), (sign * 0.22, -0.72)), fill=(*one.body, 255), width=pen.line(0.025))


def _resting(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """Wings folded into a triangle."""
    wide = 0.35 + 0.25 * one.build
    draw.polygon(pen.at((0, -0.75), (wide, 0.7), (0, 0.85), (-wide, 0.7)), fill=(*one.wing, 252))
    _spots(draw, one, pen, places=((0.1, 0.0), (0.18, 0.35), (0.22, 0.6), (0.06, -0.3)))
    draw.ellipse(pen.oval(0, -0.68, 0.14, 0.18), fill=(*one.body, 255))
    for sign in (-1, 1):
        draw.line(pen.at((0, -0.78), (sign * 0.2, -0.97)), fill=(*one.body, 255), width=pen.line(0.03))


def _beetle(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """An oval with six short legs."""
    wide = 0.38 + 0.15 * one.build
    dark = _darker(one.body, 0.6)
    for sign in (-1, 1):
        for y, reach in ((-0.45, -0.65), (0.0, 0.05), (0.4, 0.65)):
            draw.line(pen.at((0, y), (sign * (wide + 0.22), reach)), fill=(*dark, 255), width=pen.line(0.06))
    draw.ellipse(pen.oval(0, 0.12, wide, 0.78), fill=(*_darker(one.body, 0.75), 255))
    draw.ellipse(pen.oval(0, -0.68, wide * 0.55, 0.24), fill=(*dark, 255))
    draw.line(pen.at((0, -0.5), (0, 0.88)), fill=(*dark, 255), width=pen.line(0.03))


def _fly(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """A dark body between half-transparent wings."""
    for sign in (-1, 1):
        draw.ellipse(pen.oval(sign * 0.4, 0.2, 0.3, 0.5), fill=(*_darker(one.wing, 0.9), 150))
    draw.ellipse(pen.oval(0, 0.0, 0.24, 0.85), fill=(*_darker(one.body, 0.5), 255))
    draw.ellipse(pen.oval(0, -0.75, 0.2, 0.18), fill=(*_darker(one.body, 0.35), 255))


def _crane(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """A slender body, narrow wings and thin bent legs."""
    for sign in (-1, 1):
        draw.polygon(pen.at((0, -0.3), (sign * 0.6, 0.35), (sign * 0.42, 0.55)), fill=(*_darker(one.wing, 0.95), 190))
        for y, knee in ((-0.35, -0.8), (-0.1, 0.6)):
            draw.line(
                pen.at((0, y), (sign * 0.45, knee * 0.7), (sign * 0.6, knee)),
                fill=(*one.body, 255),
                width=pen.line(0.03),
            )
    draw.ellipse(pen.oval(0, 0.05, 0.09, 0.72), fill=(*_darker(one.body, 0.8), 255))


def _crumb(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """An irregular patch of one colour."""
    random = np.random.default_rng([one.seed, 2])
    corners = int(random.integers(5, 9))
    turns = np.sort(random.random(corners)) * 2 * math.pi
    reaches = 0.45 + 0.5 * random.random(corners)
    places = [(float(r * math.cos(t)), float(r * math.sin(t))) for t, r in zip(turns, reaches, strict=True)]
    draw.polygon(pen.at(*places), fill=(*one.body, 255))


def _hair(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen) -> None:
    """A bent thin line."""
    bend = 0.25 * (one.build - 0.5)
    places = [(x / 10, bend * (1 - (x / 10) ** 2)) for x in range(-10, 11)]
    draw.line(pen.at(*places), fill=(*one.body, 255), width=pen.line(0.045), joint="curve")


def _spots(draw: ImageDraw.ImageDraw, one: Look, pen: _Pen, *, places: tuple[_Point, ...]) -> None:
    """The same spots on both sides."""
    random = np.random.default_rng([one.seed, 3])
    for x, y in places:
        radius = 0.03 + 0.07 * float(random.random())
        tone = 0.45 if random.random() < 0.6 else 1.5
        for sign in (-1, 1):
            draw.ellipse(pen.oval(sign * x, y, radius, radius), fill=(*_darker(one.wing, tone), 255))


def _darker(colour: Colour, part: float) -> Colour:
    red, green, blue = (min(235, round(channel * part)) for channel in colour)
    return red, green, blue


_KINDS: dict[str, Callable[[ImageDraw.ImageDraw, Look, _Pen], None]] = {
    "moth": _moth,
    "resting": _resting,
    "beetle": _beetle,
    "fly": _fly,
    "crane": _crane,
    "crumb": _crumb,
    "hair": _hair,
}
