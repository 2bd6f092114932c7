"""Pictures of every kind become RGB, and what cannot be decoded says why by its bytes."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.reads import FileRead
from limner.inferrers.pictures import blamed_on_picture, decode_picture

RED, GREEN, BLUE = (200, 30, 40), (20, 180, 60), (30, 60, 210)


def quarters(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture whose four quarters are red, green, blue and white."""
    width, height = size
    picture = Image.new("RGB", size, "white")
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    return picture


def saved(path: Path, picture: Image.Image, *, format: str, **options: object) -> Path:
    """*picture* written to *path* in *format*."""
    picture.save(path, format=format, **options)
    return path


def near(picture: Image.Image, at: tuple[int, int], colour: tuple[int, int, int], *, by: int = 6) -> bool:
    """Whether the pixel *at* has *colour*, give or take what JPEG loses."""
    pixel = picture.getpixel(at)
    assert isinstance(pixel, tuple)
    return all(abs(found - wanted) <= by for found, wanted in zip(pixel, colour, strict=True))


def png_claiming(path: Path, *, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + end
    )
    return path


def code_of(path: Path, *, read: FileRead | None = None) -> FailureCode:
    """The code that decoding *path* fails with."""
    with pytest.raises(FailedRecord) as raised:
        decode_picture(path, read=read or FileRead())
    assert raised.value.failure.message
    return raised.value.failure.code


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"])
def test_each_format_is_decoded(tmp_path: Path, format: str) -> None:
    """Each format that is read gives RGB of the picture's size and colours, whatever the file is called."""
    # given
    options = {"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    path = saved(tmp_path / "picture.bin", quarters(), format=format, **options)

    # when
    picture = decode_picture(path, read=FileRead())

    # then
    assert (picture.mode, picture.size) == ("RGB", (64, 48))
    assert near(picture, (10, 10), RED, by=12)
    assert near(picture, (10, 40), BLUE, by=12)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    """A grey picture has three equal channels."""
    path = saved(tmp_path / "grey.png", Image.new("L", (5, 4), 157), format="PNG")
    assert decode_picture(path, read=FileRead()).getpixel((2, 2)) == (157, 157, 157)


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    """What is transparent is white, what is half so is half white."""
    # given
    picture = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    picture.putpixel((2, 0), (0, 0, 0, 128))

    # when
    found = decode_picture(saved(tmp_path / "alpha.png", picture, format="PNG"), read=FileRead())

    # then
    assert found.getpixel((0, 0)) == (0, 0, 0)
    assert found.getpixel((1, 0)) == (255, 255, 255)
    assert near(found, (2, 0), (127, 127, 127), by=1)


def test_grey_alpha_lies_over_white(tmp_path: Path) -> None:
    """Grey with alpha is laid over white too."""
    path = saved(tmp_path / "la.png", Image.new("LA", (2, 2), (0, 0)), format="PNG")
    assert decode_picture(path, read=FileRead()).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    """The entry of a palette that is marked transparent is white, the others keep their colours."""
    # given
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 30, 40, 20, 180, 60])
    picture.putdata([0, 1])

    # when
    path = saved(tmp_path / "palette.png", picture, format="PNG", transparency=1)
    found = decode_picture(path, read=FileRead())

    # then
    assert [found.getpixel((0, 0)), found.getpixel((1, 0))] == [RED, (255, 255, 255)]


def test_16_bit_grey_is_divided_not_clipped(tmp_path: Path) -> None:
    """16-bit grey keeps its tones: 0, a middle and 65535 become 0, 115 and 255."""
    # given
    deep = np.array([[0, 115 * 257, 65535]], dtype=np.uint16)
    path = saved(tmp_path / "deep.png", Image.fromarray(deep), format="PNG")

    # when
    found = np.asarray(decode_picture(path, read=FileRead()))

    # then
    assert found[0, :, 0].tolist() == [0, 115, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    """A CMYK JPEG gives the colours that it was made from."""
    path = saved(tmp_path / "cmyk.jpg", quarters().convert("CMYK"), format="JPEG", quality=95)
    assert near(decode_picture(path, read=FileRead()), (10, 10), RED, by=10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """Each of the eight orientations is turned back to the picture that was taken."""
    # given
    stored_as = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = quarters() if stored_as is None else quarters().transpose(stored_as)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.png", stored, format="PNG", exif=exif)

    # when
    found = decode_picture(path, read=FileRead())

    # then
    assert np.array_equal(np.asarray(found), np.asarray(quarters()))


def test_orientation_is_left_where_asked(tmp_path: Path) -> None:
    """A read as stored hands over the picture unturned."""
    # given
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "turned.jpg", quarters(), format="JPEG", exif=exif)

    # when
    stored = decode_picture(path, read=FileRead(upright=False))
    upright = decode_picture(path, read=FileRead())

    # then
    assert (stored.size, upright.size) == ((64, 48), (48, 64))


# Pillow warns of it on the standard error stream; there is nothing else to do about it.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    """EXIF that makes no sense leaves a good picture as it is."""
    path = saved(tmp_path / "odd.jpg", quarters(), format="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_picture(path, read=FileRead()).size == (64, 48)


def test_progressive_is_decoded(tmp_path: Path) -> None:
    """A progressive JPEG is a picture like any other."""
    path = saved(tmp_path / "progressive.jpg", quarters(), format="JPEG", progressive=True, quality=95)
    assert near(decode_picture(path, read=FileRead()), (10, 10), RED)


def test_first_frame_is_taken(tmp_path: Path) -> None:
    """Of an animation the first frame counts."""
    # given
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    path = tmp_path / "animated.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])

    # when
    found = decode_picture(path, read=FileRead())

    # then
    assert near(found, (4, 4), RED, by=2)


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    """A picture of one pixel is legal."""
    path = saved(tmp_path / "dot.png", Image.new("RGB", (1, 1), RED), format="PNG")
    assert decode_picture(path, read=FileRead()).getpixel((0, 0)) == RED


def test_large_jpeg_is_decoded_at_a_fraction(tmp_path: Path) -> None:
    """With a size that is needed at least, a JPEG is decoded smaller, but never below it."""
    # given
    path = saved(tmp_path / "large.jpg", quarters((1600, 1200)), format="JPEG", quality=90)

    # when
    small = decode_picture(path, read=FileRead(at_least=224))
    whole = decode_picture(path, read=FileRead())

    # then
    assert whole.size == (1600, 1200)
    assert small.size == (400, 300)
    assert near(small, (50, 50), RED)


def test_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A header above the limit is refused before a pixel is decoded, just above it and far above it."""
    just_above = png_claiming(tmp_path / "large.png", width=12_000, height=9_000)
    far_above = png_claiming(tmp_path / "bomb.png", width=50_000, height=50_000)
    assert code_of(just_above) is FailureCode.SOURCE_TOO_LARGE
    assert code_of(far_above) is FailureCode.SOURCE_TOO_LARGE


def test_pixel_limit_is_the_stages_own(tmp_path: Path) -> None:
    """A stage may allow less than the default."""
    path = saved(tmp_path / "picture.png", quarters(), format="PNG")
    assert code_of(path, read=FileRead(max_pixels=3000)) is FailureCode.SOURCE_TOO_LARGE
    assert decode_picture(path, read=FileRead(max_pixels=3072)).size == (64, 48)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>503 busy</body></html>",
        b"just words, many of them, and no picture at all",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'/>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
        b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(40),
        b"#define im_width 8\n#define im_height 1\nstatic char im_bits[] = {0x01};",
    ],
    ids=["html", "text", "svg", "pdf", "zip", "xbm"],
)
def test_what_is_no_picture_is_of_wrong_type(tmp_path: Path, content: bytes) -> None:
    """Other files under a picture's name are of the wrong type."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    assert code_of(path) is FailureCode.SOURCE_WRONG_TYPE


def test_empty_file_is_truncated(tmp_path: Path) -> None:
    """A file without a byte was cut."""
    path = tmp_path / "picture.jpg"
    path.touch()
    assert code_of(path) is FailureCode.SOURCE_TRUNCATED


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF", "PPM"])
def test_cut_file_is_truncated(tmp_path: Path, format: str, share: float) -> None:
    """A file that stops in its header, half-way or near its end was cut, in any format."""
    # given
    noise = np.random.default_rng(3).integers(0, 256, size=(60, 80, 3), dtype=np.uint8)
    path = saved(tmp_path / "picture", Image.fromarray(noise), format=format)
    data = path.read_bytes()

    # when
    path.write_bytes(data[: max(12, int(len(data) * share))])

    # then
    assert code_of(path) is FailureCode.SOURCE_TRUNCATED


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_cut_bigtiff_is_truncated(tmp_path: Path, share: float) -> None:
    """A TIFF with offsets of eight bytes is known to be cut as well."""
    path = saved(tmp_path / "big.tif", Image.effect_noise((70, 50), 60), format="TIFF", big_tiff=True)
    assert decode_picture(path, read=FileRead()).size == (70, 50)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert code_of(path) is FailureCode.SOURCE_TRUNCATED


def test_small_picture_within_a_cut_jpeg_does_not_hide_the_cut(tmp_path: Path) -> None:
    """The end mark of a thumbnail in the header is not the end of the picture."""
    # given
    thumbnail = io.BytesIO()
    quarters((16, 12)).save(thumbnail, format="JPEG")
    segment = b"Exif\0\0" + thumbnail.getvalue()
    path = saved(tmp_path / "picture.jpg", quarters((200, 150)), format="JPEG")
    data = path.read_bytes()
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]

    # when
    path.write_bytes(data[:-400])

    # then
    assert code_of(path) is FailureCode.SOURCE_TRUNCATED


def damaged_png(path: Path) -> None:
    """Complete, but its compressed data are nonsense."""
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 4
    data[at : at + 30] = bytes(30)
    path.write_bytes(bytes(data))


def damaged_jpeg(path: Path) -> None:
    """Complete, but the sizes of its tables are nonsense."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc4") + 4
    data[at : at + 17] = b"\xff" * 17
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("format", "damage"), [("PNG", damaged_png), ("JPEG", damaged_jpeg)])
def test_damaged_but_complete_file_failed_to_decode(
    tmp_path: Path, format: str, damage: Callable[[Path], None]
) -> None:
    """A file with its end mark that does not decode is damaged, not cut."""
    path = saved(tmp_path / "picture", quarters(), format=format)
    damage(path)
    assert code_of(path) is FailureCode.DECODE_FAILED


def test_trailing_bytes_are_harmless(tmp_path: Path) -> None:
    """Bytes after the end of a picture change nothing."""
    for format in ("JPEG", "PNG"):
        path = saved(tmp_path / "picture", quarters(), format=format)
        path.write_bytes(path.read_bytes() + b"\r\n<!-- served by -->\n")
        assert decode_picture(path, read=FileRead()).size == (64, 48)


def test_missing_copy_is_unavailable(tmp_path: Path) -> None:
    """A local copy that is gone blames neither picture nor model."""
    assert code_of(tmp_path / "gone.jpg") is FailureCode.SOURCE_UNAVAILABLE


def test_pillows_errors_are_blamed_on_the_file(tmp_path: Path) -> None:
    """What Pillow raises to an inferrer that opened a path is told by the file's bytes."""
    # given
    html, cut = tmp_path / "page.jpg", saved(tmp_path / "cut.jpg", quarters((200, 150)), format="JPEG")
    html.write_bytes(b"<html>not found</html>")
    cut.write_bytes(cut.read_bytes()[:-300])
    good = saved(tmp_path / "good.png", quarters(), format="PNG")
    truncated = OSError("image file is truncated (3 bytes not processed)")

    # when
    def code(error: BaseException, path: Path) -> FailureCode | None:
        found = blamed_on_picture(error, path=path, read=FileRead())
        return found.code if found else None

    # then
    assert code(UnidentifiedImageError("cannot identify image file"), html) is FailureCode.SOURCE_WRONG_TYPE
    assert code(truncated, cut) is FailureCode.SOURCE_TRUNCATED
    assert code(Image.DecompressionBombError("too many"), good) is FailureCode.SOURCE_TOO_LARGE
    assert code(truncated, good) is None
    assert code(OSError("No space left on device"), cut) is None
    assert code(ValueError("truncated"), cut) is None
