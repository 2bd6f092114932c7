"""What inferrers are handed: files and values as annotated, decoded once, and never changed by another record."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile
from limner.domain.values import encode
from limner.inferrers.host import Host
from tests.inferrers.cases import NO_VALUE, codes_of, file_cell, run_files, run_values, runtime, values_of

UserModule = Callable[[str], str]


def test_inputs_arrive_as_annotated(user_module: UserModule, tmp_path: Path) -> None:
    """The same file arrives as path, bytes, text or array, and absent values arrive as None."""
    # given
    name = user_module("""
        from pathlib import Path
        import numpy as np
        def path(file: Path): return file.name if file else None
        def content(file: bytes): return file
        def text(file: str): return file
        def pixels(file: np.ndarray): return None if file is None else [list(file.shape), str(file.dtype)]
        def untyped(file): return file.name if file else None
    """)
    words, picture = tmp_path / "words.txt", tmp_path / "picture.png"
    words.write_text("Grüße", encoding="utf-8")
    Image.new("L", (7, 5)).save(picture)

    def handed(function: str, file: Path) -> list[object]:
        host = Host(runtime(f"{name}:{function}", reads={"file": FileRead()}))
        found = host.run({"file": [file_cell(file), NO_VALUE]}, prior=[b"", b""]).outcomes
        assert codes_of(found) == [None, None]
        return [value["value"] for value in values_of(found)]

    # when / then
    assert handed("path", words) == ["words.txt", None]
    assert handed("untyped", words) == ["words.txt", None]
    assert handed("content", words) == ["Grüße".encode(), None]
    assert handed("text", words) == ["Grüße", None]
    assert handed("pixels", picture) == [[[5, 7, 3], "uint8"], None]


def test_a_file_with_an_array_is_read_as_one(user_module: UserModule, tmp_path: Path) -> None:
    """What an earlier stage made as .npy arrives as that array; one that is cut or holds objects fails its record."""
    # given
    name = user_module("""
        import numpy as np
        def total(file: np.ndarray) -> list:
            return [float(file.sum()), list(file.shape), str(file.dtype)]
    """)
    whole, cut, objects = (tmp_path / f"{name}.npy" for name in ("whole", "cut", "objects"))
    np.save(whole, np.arange(6, dtype=np.float32).reshape(2, 3))
    cut.write_bytes(whole.read_bytes()[:-4])
    np.save(objects, np.array([{}]), allow_pickle=True)
    host = Host(runtime(f"{name}:total", reads={"file": FileRead()}))

    # when
    outcomes = run_files(host, whole, cut, objects, name="file")

    # then
    assert codes_of(outcomes) == [None, "DECODE_FAILED", "DECODE_FAILED"]
    assert values_of(outcomes)[0] == {"value": [15.0, [2, 3], "float32"]}


def test_text_in_another_encoding_failed_to_decode(user_module: UserModule, tmp_path: Path) -> None:
    """A file that is wanted as text and is none fails alone."""
    name = user_module("""
        def length(file: list[str]) -> list[int]:
            return [len(text) for text in file]
    """)
    latin, plain = tmp_path / "latin.txt", tmp_path / "plain.txt"
    latin.write_bytes("Grüße".encode("latin-1"))
    plain.write_bytes(b"plain")
    host = Host(runtime(f"{name}:length", reads={"file": FileRead()}))
    assert codes_of(run_files(host, latin, plain, name="file")) == ["DECODE_FAILED", None]


def test_lists_become_arrays_where_arrays_are_wanted(user_module: UserModule) -> None:
    """A vector that stands in a record as a list arrives as an array, a stored array as it is."""
    name = user_module("""
        import numpy as np
        def kind(x: list[np.ndarray]) -> list[str]:
            return [f"{type(v).__name__} {len(v)}" for v in x]
    """)
    found = values_of(run_values(Host(runtime(f"{name}:kind")), [1.0, 2.0], np.zeros(3, dtype=np.float32)))
    assert found == [{"value": "ndarray 2"}, {"value": "ndarray 3"}]


SIBLINGS = """
    from PIL import Image
    import numpy as np

    def width(image: list[Image.Image], x: list[int]) -> list[int]:
        return [picture.width for picture in image]

    def array_width(image: list[np.ndarray], x: list[int]) -> list[int]:
        return [picture.shape[1] for picture in image]
"""


@pytest.mark.parametrize("function", ["width", "array_width"])
@pytest.mark.parametrize("batch", [64, 5])
def test_siblings_share_the_decoding(user_module: UserModule, tmp_path: Path, function: str, batch: int) -> None:
    """A picture is decoded once for all its boxes, in one batch, across batches and in the next task."""
    # given two pictures with twenty boxes each, in one task
    name = user_module(SIBLINGS)
    pictures = [tmp_path / "one.png", tmp_path / "other.png"]
    for width, path in enumerate(pictures, start=30):
        Image.new("RGB", (width, 20)).save(path)
    host = Host(runtime(f"{name}:{function}", reads={"image": FileRead(), "x": None}, batch=batch))
    cells = [file_cell(path) for path in pictures]
    columns = {"image": [cell for cell in cells for _ in range(20)], "x": [encode(n) for n in range(40)]}

    # when
    outcomes = host.run(columns, prior=[b""] * 40).outcomes
    again = host.run(columns, prior=[b""] * 40).outcomes

    # then
    assert values_of(outcomes) == [{"value": width} for width in (30, 31) for _ in range(20)]
    assert values_of(again) == values_of(outcomes)
    assert host.decoded == 2


def test_what_is_kept_of_decoded_files_is_bounded(user_module: UserModule, tmp_path: Path) -> None:
    """With a memory limit of 4 MB, one decoded megabyte is kept: the picture used last, and no other."""
    # given pictures of 800 kB each, once decoded
    name = user_module(SIBLINGS)
    cells = []
    for number in range(3):
        Image.new("RGB", (500, 400), (number, 0, 0)).save(tmp_path / f"{number}.png")
        cells.append(file_cell(tmp_path / f"{number}.png"))
    wanted = runtime(f"{name}:width", reads={"image": FileRead(), "x": None})
    host = Host(structs.replace(wanted, memory_mb=4))

    def decodes(*numbers: int) -> int:
        before = host.decoded
        for number in numbers:
            host.run({"image": [cells[number]], "x": [encode(0)]}, prior=[b""])
        return host.decoded - before

    # when / then
    assert decodes(0, 1, 1, 2, 2) == 3
    assert decodes(2) == 0
    assert decodes(0, 1) == 2


CHANGERS = {
    "thumbnail": "picture.thumbnail((2, 2))",
    "paste": "picture.paste((9, 9, 9), (0, 0, 8, 8))",
    "putpixel": "[picture.putpixel((x, y), (9, 9, 9)) for x in range(8) for y in range(8)]",
    "draw": "ImageDraw.Draw(picture).rectangle((0, 0, 8, 8), fill=(9, 9, 9))",
    "putalpha": "picture.putalpha(9)",
    "putdata": "picture.putdata([(9, 9, 9)] * 64)",
}


@pytest.mark.parametrize("change", CHANGERS.values(), ids=CHANGERS)
def test_what_one_sibling_does_to_a_picture_no_other_sees(user_module: UserModule, tmp_path: Path, change: str) -> None:
    """A picture may be changed in place: it is the record's own as soon as it is."""
    # given
    name = user_module(f"""
        from PIL import Image, ImageDraw
        def spoil(image: Image.Image, x: int) -> list:
            picture, before = image, [image.size, image.mode, image.getpixel((1, 1))]
            {change}
            assert before != [picture.size, picture.mode, picture.getpixel((1, 1))]
            return before
    """)
    path = tmp_path / "one.png"
    Image.new("RGB", (8, 8), (200, 100, 50)).save(path)
    host = Host(runtime(f"{name}:spoil", reads={"image": FileRead(), "x": None}, batch=2))

    # when
    columns = {"image": [file_cell(path)] * 3, "x": [encode(n) for n in range(3)]}
    outcomes = host.run(columns, prior=[b""] * 3).outcomes

    # then
    assert values_of(outcomes) == [{"value": [[8, 8], "RGB", [200, 100, 50]]}] * 3
    assert host.decoded == 1


def test_pixels_and_arrays_of_siblings_are_read_only(user_module: UserModule, tmp_path: Path) -> None:
    """What cannot be copied before it is changed refuses the change, and the record fails instead of its sibling."""
    # given
    name = user_module("""
        from PIL import Image
        import numpy as np
        def pixels(image: Image.Image, x: int) -> int:
            image.load()[0, 0] = (9, 9, 9)
            return 1
        def array(image: np.ndarray, x: int) -> int:
            image[0, 0] = 9
            return 1
    """)
    path = tmp_path / "one.png"
    Image.new("RGB", (8, 8)).save(path)

    # when / then
    for function in ("pixels", "array"):
        host = Host(runtime(f"{name}:{function}", reads={"image": FileRead(), "x": None}))
        outcomes = host.run({"image": [file_cell(path)] * 2, "x": [encode(1), encode(2)]}, prior=[b""] * 2).outcomes
        assert codes_of(outcomes) == ["MODEL_ERROR", "MODEL_ERROR"]


def test_each_record_keeps_its_own_path(user_module: UserModule, tmp_path: Path) -> None:
    """Two files with the same bytes keep their names."""
    name = user_module("""
        from pathlib import Path
        def named(image: list[Path]) -> list[str]:
            return [path.name for path in image]
    """)
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("same")
    other.write_text("same")

    found = values_of(run_files(Host(runtime(f"{name}:named", reads={"image": FileRead()})), one, other))

    assert found == [{"value": "one.txt"}, {"value": "other.txt"}]


def test_copy_that_was_missing_is_read_when_it_is_back(user_module: UserModule, tmp_path: Path) -> None:
    """A file that could not be read is tried anew, although its digest is known."""
    # given
    name = user_module("""
        from PIL import Image
        def width(image: list[Image.Image]) -> list[int]:
            return [picture.width for picture in image]
    """)
    path = tmp_path / "picture.png"
    Image.new("RGB", (6, 4)).save(path)
    cell, content = file_cell(path), path.read_bytes()
    host = Host(runtime(f"{name}:width", reads={"image": FileRead()}))

    # when
    path.unlink()
    gone = host.run({"image": [cell]}, prior=[b""]).outcomes
    path.write_bytes(content)
    back = host.run({"image": [cell]}, prior=[b""]).outcomes

    # then
    assert codes_of(gone) == ["SOURCE_UNAVAILABLE"]
    assert values_of(back) == [{"value": 6}]


def test_unreadable_picture_behind_a_path_is_typed(user_module: UserModule, tmp_path: Path) -> None:
    """An inferrer that opens paths itself and hands back Pillow's errors gets the file's own failure."""
    # given
    name = user_module("""
        from pathlib import Path
        from PIL import Image
        def _width(path):
            try:
                with Image.open(path) as picture:
                    picture.load()
                    return picture.width
            except (OSError, Image.DecompressionBombError) as error:
                return error
        def widths(file: list[Path]) -> list[object]:
            return [_width(path) for path in file]
    """)
    good, page, empty, cut, own = (tmp_path / n for n in ("good.png", "page.jpg", "empty.jpg", "cut.png", "own.txt"))
    Image.new("RGB", (9, 9), "teal").save(good)
    page.write_text("<html></html>")
    empty.touch()
    Image.effect_noise((60, 60), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    host = Host(runtime(f"{name}:widths", reads={"file": FileRead()}))

    # when
    outcomes = run_files(host, good, page, empty, cut, name="file")
    gone = host.run({"file": [msgspec.msgpack.encode(LocalFile(path=str(own), sha256="0" * 64))]}, prior=[b""])

    # then
    assert codes_of(outcomes) == [None, "SOURCE_WRONG_TYPE", "SOURCE_TRUNCATED", "SOURCE_TRUNCATED"]
    assert outcomes[1].read_digest == b""
    assert codes_of(gone.outcomes) == ["MODEL_ERROR"]


def test_read_digest_counts_every_input_and_how_a_file_is_decoded(user_module: UserModule, tmp_path: Path) -> None:
    """Another value, other bytes or another orientation are another input; another path or limit is not."""
    # given
    name = user_module("""
        from pathlib import Path
        def named(file: Path, x: int) -> int:
            return x
    """)
    one, copy, other = (tmp_path / name for name in ("one.bin", "copy.bin", "other.bin"))
    for path, content in ((one, b"abc"), (copy, b"abc"), (other, b"abd")):
        path.write_bytes(content)

    def read_digest(path: Path, x: int, *, read: FileRead) -> bytes:
        host = Host(runtime(f"{name}:named", reads={"x": None, "file": read}))
        ran = host.run({"x": [encode(x)], "file": [file_cell(path)]}, prior=[b""])
        return ran.outcomes[0].read_digest

    # when
    base = read_digest(one, 1, read=FileRead())

    # then
    assert read_digest(copy, 1, read=FileRead(max_bytes=10, max_pixels=10)) == base
    others = {
        read_digest(other, 1, read=FileRead()),
        read_digest(one, 2, read=FileRead()),
        read_digest(one, 1, read=FileRead(upright=False)),
        read_digest(one, 1, read=FileRead(at_least=224)),
    }
    assert len(others | {base}) == 5
