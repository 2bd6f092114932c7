"""Pictures that are broken, and pictures that are odd but legal, as bytes; every one is made here."""

import io
import struct
import zlib

from PIL import Image

RED, BLUE = (200, 30, 30), (30, 30, 200)


def picture(size: tuple[int, int] = (64, 48), *, format: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    """A red picture."""
    return saved(Image.new("RGB", size, RED).convert(mode), format=format, **options)


def saved(image: Image.Image, *, format: str, **options: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def noise() -> bytes:
    """A JPEG with much data between its header and its end."""
    return saved(Image.effect_noise((200, 150), 60), format="JPEG", quality=90)


def bomb(side: int = 20_000) -> bytes:
    """A small file that says it has 400 million pixels."""
    body = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    header = b"\0\0\0\x0dIHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    packed = zlib.compress(b"\0" * 1000)
    data = struct.pack(">I", len(packed)) + b"IDAT" + packed + struct.pack(">I", zlib.crc32(b"IDAT" + packed))
    return b"\x89PNG\r\n\x1a\n" + header + data + b"\0\0\0\0IEND\xaeB`\x82"


def damaged() -> bytes:
    """A PNG that is whole, with nonsense in the middle of its data."""
    whole = bytearray(saved(Image.effect_noise((200, 150), 60), format="PNG"))
    middle = len(whole) // 2
    whole[middle : middle + 200] = bytes(200)
    return bytes(whole)


def odd() -> dict[str, tuple[bytes, list[int]]]:
    """By name a legal picture, and what is to be made of it: width, height, and the colour of its first pixel."""
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = Image.new("RGBA", (30, 20), (*RED, 0))
    grey_16 = Image.new("I;16", (40, 30), 128 * 257)
    frames = [Image.new("RGB", (24, 18), colour) for colour in (RED, BLUE)]
    palette = Image.new("RGB", (20, 10), RED).quantize(4)
    return {
        "plain.png": (picture(format="PNG"), [64, 48, *RED]),
        "large.png": (picture((900, 700), format="PNG"), [900, 700, *RED]),
        "grey.png": (saved(Image.new("L", (50, 40), 77), format="PNG"), [50, 40, 77, 77, 77]),
        "grey16.png": (saved(grey_16, format="PNG"), [40, 30, 128, 128, 128]),
        "palette.png": (saved(palette, format="PNG"), [20, 10, *RED]),
        "alpha.png": (saved(clear, format="PNG"), [30, 20, 255, 255, 255]),
        "cmyk.jpg": (saved(Image.new("CMYK", (33, 22), (0, 0, 0, 0)), format="JPEG"), [33, 22, 255, 255, 255]),
        "still.webp": (saved(frames[0], format="WEBP", lossless=True), [24, 18, *RED]),
        "moving.gif": (
            saved(frames[0], format="GIF", save_all=True, append_images=frames[1:], duration=100),
            [24, 18, *RED],
        ),
        # Stored lying, and shown upright by who heeds the EXIF: the read says which.
        "turned.png": (picture((60, 20), format="PNG", exif=turned), [60, 20, *RED]),
        "one.png": (picture((1, 1), format="PNG"), [1, 1, *RED]),
        "blank.png": (saved(Image.new("RGB", (320, 240), "white"), format="PNG"), [320, 240, 255, 255, 255]),
    }
