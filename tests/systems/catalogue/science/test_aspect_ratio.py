"""The aspect ratio: from the header, as the picture is shown."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.systems.catalogue.aspect_ratio import AspectRatio
from limner.systems.catalogue.odd_pictures import Odd, odd


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> list[Odd]:
    """Every odd and broken picture."""
    return odd(tmp_path_factory.mktemp("odd"))


def test_i6_every_kind_of_picture(odd_files: list[Odd]) -> None:
    """Every odd but legal kind has the size that it is shown in."""
    # given
    legal = [one for one in odd_files if one.end == "done"]

    # when
    answers = AspectRatio().infer([one.path for one in legal])

    # then
    assert len(legal) >= 13
    for one, answer in zip(legal, answers, strict=True):
        assert isinstance(answer, dict), one.path.name
        assert (answer["width"], answer["height"]) == (one.width, one.height), one.path.name
        assert one.width is not None
        assert one.height is not None
        assert answer["value"] == pytest.approx(one.width / one.height, abs=1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_ratio(orientation: int, tmp_path: Path) -> None:
    """A picture that EXIF turns by a quarter has the ratio in which it is shown."""
    # given
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (272, 200), "grey").save(path, exif=exif)

    # when
    answer = AspectRatio().infer([path])[0]

    # then
    assert isinstance(answer, dict)
    assert answer["value"] == (200 / 272 if orientation >= 5 else 272 / 200)


def test_only_the_header_is_read(tmp_path: Path) -> None:
    """A picture that ends right behind its header still has a ratio."""
    # given
    path = tmp_path / "cut.jpg"
    Image.effect_noise((300, 200), 60).save(path)
    path.write_bytes(path.read_bytes()[:1000])

    # then
    assert AspectRatio().infer([path]) == [{"value": 1.5, "width": 300, "height": 200}]


def test_unreadable_file_spares_its_batch(odd_files: list[Odd], tmp_path: Path) -> None:
    """Files that are no picture, and one that is not there, are exceptions in their places."""
    # given
    good = tmp_path / "good.png"
    Image.new("RGB", (4, 2)).save(good)
    bad = [one.path for one in odd_files if one.end == "SOURCE_WRONG_TYPE" or one.path.name == "empty.jpg"]

    # when
    answers = AspectRatio().infer([good, *bad, tmp_path / "absent.jpg", good])

    # then
    assert answers[0] == answers[-1] == {"value": 2.0, "width": 4, "height": 2}
    assert len(bad) == 6
    assert all(isinstance(answer, OSError) for answer in answers[1:-1])


def test_too_large_by_its_header(odd_files: list[Odd]) -> None:
    """A header that promises far too many pixels is an exception, and nothing is decoded."""
    # given
    bomb = next(one.path for one in odd_files if one.path.name == "bomb.png")

    # then
    assert isinstance(AspectRatio().infer([bomb])[0], Image.DecompressionBombError)


@pytest.mark.real_data
def test_i6_ratios_of_real_pictures(shared_data: Path) -> None:
    """Ratios of all real pictures and of the legal odd ones are exact to a millionth."""
    # given
    folder = shared_data / "catalogue"
    expected = {
        folder / "pictures" / name: row["aspect_ratio"]
        for name, row in json.loads((folder / "expected.json").read_text())["pictures"].items()
    }
    odd_ones = json.loads((folder / "odd" / "expected.json").read_text())
    expected |= {folder / "odd" / name: row["aspect_ratio"] for name, row in odd_ones.items() if row["end"] == "done"}

    # when
    answers = AspectRatio().infer(list(expected))

    # then
    assert len(answers) == 58
    for answer, ratio in zip(answers, expected.values(), strict=True):
        assert isinstance(answer, dict)
        assert answer["value"] == pytest.approx(ratio, abs=1e-6)
