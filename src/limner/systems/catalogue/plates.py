"""Draws seeded plates of ten kinds and re-photographs them: pictures whose likeness and colours are known."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from limner.systems.catalogue.plate_texts import Work, WorkPlan, describe_plate, plan_works, write_work

Colour = tuple[int, int, int]

INKS: dict[str, Colour] = {
    "madder red": (176, 38, 48),
    "brick": (158, 84, 58),
    "orange": (226, 122, 32),
    "ochre": (196, 148, 50),
    "lemon yellow": (232, 210, 62),
    "olive": (112, 116, 44),
    "leaf green": (66, 142, 58),
    "emerald": (24, 150, 106),
    "turquoise": (36, 160, 166),
    "sky blue": (74, 148, 214),
    "indigo": (44, 58, 132),
    "violet": (118, 62, 158),
    "magenta": (188, 44, 134),
    "rose": (222, 124, 142),
    "sepia": (92, 66, 44),
    "ink black": (30, 28, 32),
}
PAPERS: dict[str, Colour] = {
    "white": (248, 247, 244),
    "cream": (240, 228, 202),
    "buff": (218, 196, 156),
    "grey": (186, 186, 182),
    "pale blue": (192, 212, 228),
    "pale green": (200, 222, 196),
    "pink": (238, 206, 204),
    "slate": (70, 78, 88),
}
#: Pixels of the longer side of a plate.
LONG_SIDE = 400


@dataclass(frozen=True, kw_only=True)
class Plate:
    """One drawn picture, with the words for what it shows."""

    family: str
    #: Names of the two inks and of the paper, keys of INKS and PAPERS.
    ink: str
    second: str
    paper: str
    image: Image.Image


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One JPEG file: a plate, or a re-photograph of it."""

    id: str
    #: Shared by a plate and its re-photographs.
    group: str
    #: The id of the work that the plate belongs to.
    work: str
    path: Path
    title: str
    licence: str
    #: ISO 8601.
    modified: str

    def fields(self, *, base: str | None = None) -> dict[str, object]:
        """The picture as a record's fields; its address is *base* + file name, or the file's own URI."""
        return {
            "id": self.id,
            "parent": self.work,
            "title": self.title,
            "image_url": self.path.resolve().as_uri() if base is None else base + self.path.name,
            "licence": self.licence,
            "version": 1,
            "modifiedTime": self.modified,
        }


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A small invented library: its works, and the files of their pictures."""

    works: tuple[Work, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """What one family draws on and with."""

    draw: ImageDraw.ImageDraw
    random: Random
    width: int
    height: int
    ink: Colour
    second: Colour
    paper: Colour


def draw(folder: Path, *, count: int, seed: int, rephotographs: int = 2) -> Drawn:
    """
    Write *count* plates and *rephotographs* of each into *folder* as JPEGs of about 400 pixels.

    So there are ``count * (1 + rephotographs)`` files. The same seed draws the same library; a larger count
    begins with the same plates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    works: list[Work] = []
    pictures: list[Picture] = []
    for plan in plan_works(count, seed=seed, families=tuple(FAMILIES)):
        lines = []
        for index in plan.plates:
            drawn = plate(index, seed=seed, family=plan.family)
            title = describe_plate(drawn.family, ink=drawn.ink, second=drawn.second, paper=drawn.paper)
            lines.append(title)
            pictures += _write(drawn, folder, index=index, seed=seed, copies=rephotographs, work=plan, title=title)
        works.append(write_work(plan, lines, seed=seed))
    return Drawn(works=tuple(works), pictures=tuple(pictures))


def plate(index: int, *, seed: int, family: str | None = None) -> Plate:
    """The plate of this number and seed: always the same drawing; the families take turns where none is named."""
    random = Random(f"plate {seed} {index}")
    family = family or list(FAMILIES)[index % len(FAMILIES)]
    ink, second = random.sample(sorted(INKS), 2)
    paper = random.choice(sorted(PAPERS))
    short = random.randint(280, LONG_SIDE)
    width, height = (LONG_SIDE, short) if random.random() < 0.5 else (short, LONG_SIDE)
    ground = _shade(PAPERS[paper], random=random)
    image = Image.new("RGB", (width, height), ground)
    sheet = _Sheet(
        draw=ImageDraw.Draw(image),
        random=random,
        width=width,
        height=height,
        ink=_shade(INKS[ink], random=random),
        second=_shade(INKS[second], random=random),
        paper=ground,
    )
    FAMILIES[family](sheet)
    return Plate(family=family, ink=ink, second=second, paper=paper, image=_lit(image, random=random))


def rephotograph(picture: Image.Image, *, random: Random) -> bytes:
    """A JPEG of *picture* taken again: turned by up to 4°, cropped, dimmed, blurred, smaller, recompressed."""
    width, height = picture.size
    corner = picture.getpixel((0, 0))
    turned = picture.rotate(random.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=corner)
    left, top, right, bottom = (random.uniform(0.01, 0.05) for _ in range(4))
    scale = random.uniform(0.8, 0.98)
    taken = turned.resize(
        (max(1, round(width * scale)), max(1, round(height * scale))),
        Image.Resampling.BILINEAR,
        box=(left * width, top * height, (1 - right) * width, (1 - bottom) * height),
    )
    dimmed = ImageEnhance.Brightness(taken).enhance(random.uniform(0.8, 1.05))
    blurred = dimmed.filter(ImageFilter.BoxBlur(random.uniform(0.2, 1.0)))
    return _jpeg(blurred, quality=random.randint(55, 85))


def _write(
    drawn: Plate, folder: Path, *, index: int, seed: int, copies: int, work: WorkPlan, title: str
) -> list[Picture]:
    random = Random(f"photographs {seed} {index}")
    shots = [_jpeg(drawn.image, quality=90)] + [rephotograph(drawn.image, random=random) for _ in range(copies)]
    group = f"{drawn.family}-{index:05d}"
    pictures = []
    for number, content in enumerate(shots):
        name = f"{group}-{number}"
        path = folder / f"{name}.jpg"
        path.write_bytes(content)
        minute = index * (copies + 1) + number
        pictures.append(
            Picture(
                id=name,
                group=group,
                work=work.id,
                path=path,
                title=title if number == 0 else f"{title}, photographed again",
                licence=work.licence,
                modified=f"2026-{1 + minute // 40320 % 12:02d}-{1 + minute // 1440 % 28:02d}"
                f"T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z",
            )
        )
    return pictures


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _shade(colour: Colour, *, random: Random) -> Colour:
    """A little off the named colour, as two pots of one ink are."""
    red, green, blue = (min(255, max(0, channel + random.randint(-14, 14))) for channel in colour)
    return red, green, blue


def _lit(image: Image.Image, *, random: Random) -> Image.Image:
    """*image* under slightly uneven light."""
    light = Image.frombytes("L", (4, 4), bytes(random.randint(222, 255) for _ in range(16)))
    return ImageChops.multiply(image, light.resize(image.size, Image.Resampling.BICUBIC).convert("RGB"))


def _rings(sheet: _Sheet) -> None:
    random = sheet.random
    x, y = sheet.width * random.uniform(0.3, 0.7), sheet.height * random.uniform(0.3, 0.7)
    step, thick = random.randint(14, 46), random.randint(3, 14)
    squash = random.uniform(0.6, 1.4)
    for number, radius in enumerate(range(step, 300, step)):
        box = (x - radius, y - radius * squash, x + radius, y + radius * squash)
        sheet.draw.ellipse(box, outline=sheet.second if number % 3 == 2 else sheet.ink, width=thick)


def _stripes(sheet: _Sheet) -> None:
    random = sheet.random
    slope, step = random.uniform(-1.2, 1.2), random.randint(14, 60)
    upright = random.random() < 0.5
    thick = random.randint(4, max(5, step // 2))
    reach = sheet.width + sheet.height
    for number, at in enumerate(range(-reach, reach, step)):
        line = (at, 0, at + slope * sheet.height, sheet.height) if upright else (0, at, sheet.width, at + slope * 300)
        sheet.draw.line(line, fill=sheet.second if number % 4 == 0 else sheet.ink, width=thick)


def _dots(sheet: _Sheet) -> None:
    random = sheet.random
    step, radius = random.randint(24, 70), random.uniform(0.15, 0.42)
    shift = random.choice((0.0, 0.5))
    for row in range(sheet.height // step + 2):
        for column in range(-1, sheet.width // step + 2):
            x, y = (column + shift * (row % 2)) * step, row * step
            size = step * radius * random.uniform(0.6, 1.1)
            fill = sheet.second if random.random() < 0.25 else sheet.ink
            sheet.draw.ellipse((x - size, y - size, x + size, y + size), fill=fill)


def _checks(sheet: _Sheet) -> None:
    random = sheet.random
    wide, tall = random.randint(18, 80), random.randint(18, 80)
    chance = random.uniform(0.05, 0.35)
    for row in range(sheet.height // tall + 1):
        for column in range(sheet.width // wide + 1):
            box = (column * wide, row * tall, (column + 1) * wide, (row + 1) * tall)
            if random.random() < chance:
                sheet.draw.rectangle(box, fill=sheet.second)
            elif (row + column) % 2:
                sheet.draw.rectangle(box, fill=sheet.ink)


def _plant(sheet: _Sheet) -> None:
    random = sheet.random
    for _ in range(random.randint(1, 4)):
        x, y = sheet.width * random.uniform(0.25, 0.75), sheet.height * 0.95
        lean = random.uniform(-6, 6)
        leaf = random.uniform(14, 44)
        for number in range(random.randint(6, 13)):
            top = (x + lean + random.uniform(-4, 4), y - sheet.height * random.uniform(0.05, 0.1))
            sheet.draw.line((x, y, *top), fill=sheet.ink, width=5)
            side = leaf if number % 2 else -leaf
            box = (min(top[0], top[0] + side), top[1] - leaf / 3, max(top[0], top[0] + side), top[1] + leaf / 3)
            sheet.draw.ellipse(box, fill=sheet.ink)
            x, y = top
        sheet.draw.ellipse((x - leaf / 2, y - leaf / 2, x + leaf / 2, y + leaf / 2), fill=sheet.second)


def _text(sheet: _Sheet) -> None:
    random = sheet.random
    margin, line = random.randint(20, 60), random.randint(14, 34)
    ragged = random.uniform(0.1, 0.5)
    y = margin
    if random.random() < 0.6:
        sheet.draw.rectangle((margin, y, margin + line * 2.5, y + line * 2.5), fill=sheet.second)
        y += line * 3
    while y < sheet.height - margin:
        x: float = margin + random.choice((0, 0, 0, 30))
        end = (sheet.width - margin) * (1 - random.uniform(0, ragged))
        while x < end:
            word = random.uniform(line * 0.8, line * 4)
            sheet.draw.rectangle((x, y, min(x + word, end), y + line * 0.5), fill=sheet.ink)
            x += word + line * 0.5
        y += line


def _house(sheet: _Sheet) -> None:
    random = sheet.random
    ground = sheet.height * random.uniform(0.75, 0.92)
    sheet.draw.rectangle((0, ground, sheet.width, sheet.height), fill=sheet.second)
    x = sheet.width * random.uniform(0.02, 0.15)
    while x < sheet.width * 0.9:
        wide, tall = random.uniform(60, 170), sheet.height * random.uniform(0.25, 0.55)
        sheet.draw.rectangle((x, ground - tall, x + wide, ground), fill=sheet.ink)
        roof = (
            (x - 8, ground - tall),
            (x + wide / 2, ground - tall - random.uniform(20, 80)),
            (x + wide + 8, ground - tall),
        )
        sheet.draw.polygon(roof, fill=sheet.second)
        pane = random.uniform(12, 26)
        for column in range(int(wide / pane / 2)):
            for row in range(int(tall / pane / 2)):
                left, top = x + pane * (0.6 + 2 * column), ground - tall + pane * (0.6 + 2 * row)
                sheet.draw.rectangle((left, top, left + pane, top + pane), fill=sheet.paper)
        x += wide + random.uniform(10, 70)


def _blobs(sheet: _Sheet) -> None:
    random = sheet.random
    for _ in range(random.randint(5, 22)):
        x, y = sheet.width * random.random(), sheet.height * random.random()
        wide, tall = random.uniform(14, 80), random.uniform(14, 80)
        fill = random.choice((sheet.ink, sheet.ink, sheet.second))
        sheet.draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=fill, outline=sheet.paper, width=3)
        sheet.draw.ellipse((x - wide / 4, y - tall / 4, x + wide / 4, y + tall / 4), fill=sheet.second)


def _grid(sheet: _Sheet) -> None:
    random = sheet.random
    wide, tall, thick = random.randint(20, 70), random.randint(20, 70), random.randint(2, 6)
    for x in range(random.randint(0, wide), sheet.width, wide):
        sheet.draw.line((x, 0, x, sheet.height), fill=sheet.ink, width=thick)
    for y in range(random.randint(0, tall), sheet.height, tall):
        sheet.draw.line((0, y, sheet.width, y), fill=sheet.ink, width=thick)
    coast = [(sheet.width * random.random(), sheet.height * random.random()) for _ in range(random.randint(3, 7))]
    sheet.draw.polygon(coast, fill=sheet.second, outline=sheet.ink)


def _waves(sheet: _Sheet) -> None:
    random = sheet.random
    wide, high = random.randint(40, 110), random.randint(14, 50)
    step, thick = random.randint(18, 56), random.randint(4, 11)
    for number, y in enumerate(range(-high, sheet.height + high, step)):
        start = -(number % 2) * wide / 2
        for turn in range(-1, sheet.width // wide + 2):
            left = start + turn * wide
            fill = sheet.second if number % 3 == 0 else sheet.ink
            sheet.draw.arc(
                (left, y, left + wide, y + high), 0 if turn % 2 else 180, 180 if turn % 2 else 360, fill, thick
            )


FAMILIES: dict[str, Callable[[_Sheet], None]] = {
    "rings": _rings,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "plant": _plant,
    "text": _text,
    "house": _house,
    "blobs": _blobs,
    "grid": _grid,
    "waves": _waves,
}
