"""Drawn plates and odd pictures: what all other tests and the demonstration stand on."""

import hashlib
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from limner.systems.catalogue.odd_pictures import Odd, odd
from limner.systems.catalogue.plates import FAMILIES, INKS, draw, plate, rephotograph


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_same_seed_draws_the_same_library(tmp_path: Path) -> None:
    """Files and texts depend on the seed alone; a larger library begins with the same plates."""
    # when
    first = draw(tmp_path / "first", count=6, seed=4, rephotographs=1)
    again = draw(tmp_path / "again", count=6, seed=4, rephotographs=1)
    larger = draw(tmp_path / "larger", count=12, seed=4, rephotographs=1)
    other = draw(tmp_path / "other", count=6, seed=5, rephotographs=1)

    # then
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    assert digests(tmp_path / "first").items() <= digests(tmp_path / "larger").items()
    assert first.works == again.works
    assert [one.id for one in larger.pictures[:12]] == [one.id for one in first.pictures]
    assert not set(digests(tmp_path / "other").values()) & set(digests(tmp_path / "first").values())
    assert other.works != first.works


def test_pictures_are_plates_and_their_rephotographs(tmp_path: Path) -> None:
    """Each plate has its file and two more, RGB JPEGs of about 400 pixels, all of one group and work."""
    # when
    library = draw(tmp_path, count=20, seed=1, rephotographs=2)

    # then
    assert len(library.pictures) == 60
    assert set(Counter(picture.group for picture in library.pictures).values()) == {3}
    assert len({picture.id for picture in library.pictures}) == 60
    assert {picture.work for picture in library.pictures} == {work.id for work in library.works}
    for picture in library.pictures:
        with Image.open(picture.path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 280 <= max(image.size) <= 400


def test_text_is_true_of_the_picture(tmp_path: Path) -> None:
    """A work's description names the inks that its plates are drawn in, so words find pictures."""
    # given
    library = draw(tmp_path, count=15, seed=2, rephotographs=0)
    works = {work.id: work for work in library.works}

    for index, picture in enumerate(library.pictures):
        drawn = plate(index, seed=2, family=picture.group.split("-")[0])
        pixels = np.asarray(drawn.image).reshape(-1, 3).astype(int)

        # then
        assert picture.title in works[picture.work].description
        assert drawn.ink in picture.title
        assert np.abs(pixels - np.array(INKS[drawn.ink])).max(axis=1).min() <= 48


def test_records_are_ready_for_a_collection(tmp_path: Path) -> None:
    """Works and pictures give the fields of the collections, joined by the parent."""
    # when
    library = draw(tmp_path, count=2, seed=3, rephotographs=1)
    image, work = library.pictures[0].fields(base="http://pictures.example/"), library.works[0].fields()

    # then
    assert image["parent"] == work["id"]
    assert image["image_url"] == f"http://pictures.example/{library.pictures[0].path.name}"
    assert str(library.pictures[0].fields()["image_url"]).startswith("file://")
    assert set(work) == {
        *("id", "title", "description", "contributors", "subjects", "genres", "languages", "notes"),
        *("production_dates", "identifiers", "licence", "modifiedTime"),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_something(family: str) -> None:
    """No family leaves its sheet nearly empty, and two plates of it differ."""
    # given
    one, two = (np.asarray(plate(index, seed=1, family=family).image.resize((50, 50))).astype(int) for index in (1, 2))

    # then
    assert one.std() > 8
    assert np.abs(one - two).mean() > 8


def test_rephotograph_is_alike_but_not_the_same() -> None:
    """A re-photograph is a smaller JPEG of nearly the same picture, another one each time."""
    # given
    original, random = plate(2, seed=6).image, Random(1)

    # when
    first, second = rephotograph(original, random=random), rephotograph(original, random=random)

    # then
    assert first != second
    assert first[:2] == b"\xff\xd8"


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> list[Odd]:
    """Every odd and broken picture."""
    return odd(tmp_path_factory.mktemp("odd"))


def test_legal_odd_pictures_decode(odd_files: list[Odd]) -> None:
    """Every legal one decodes, and where conversion is plain its average colour is the promised one."""
    # given
    plain = {"RGB", "L", "P", "CMYK"}
    checked = 0

    for one in odd_files:
        if one.end != "done":
            continue
        with Image.open(one.path) as image:
            image.load()
            if image.mode not in plain:
                continue
            mean = np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)

        # then
        assert one.average_color_hex is not None
        promised = [int(one.average_color_hex[at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(mean - promised).max() <= 2, one.path.name
        checked += 1
    assert checked >= 9


def test_broken_pictures_are_broken_as_said(odd_files: list[Odd]) -> None:
    """Cut and damaged ones fail to decode, foreign ones are not recognised, large ones say so in their header."""
    limit = 100_000_000
    for one in odd_files:
        if one.end in ("SOURCE_TRUNCATED", "DECODE_FAILED") and one.path.stat().st_size:
            with Image.open(one.path) as image, pytest.raises(OSError, match=r"truncated|broken data"):
                image.load()
        elif one.end == "SOURCE_WRONG_TYPE" or one.path.name == "empty.jpg":
            with pytest.raises(UnidentifiedImageError):
                Image.open(one.path)
        elif one.end == "SOURCE_TOO_LARGE":
            header = one.path.read_bytes()[16:24]
            assert int.from_bytes(header[:4]) * int.from_bytes(header[4:]) > limit


def test_damaged_files_are_complete(odd_files: list[Odd]) -> None:
    """Damaged files keep their end marks and cut ones lack them: that is how the two are told apart."""
    # given
    marks = {one.path.name: one.path.read_bytes()[-12:] for one in odd_files}

    # then
    assert marks["damaged.jpg"].endswith(b"\xff\xd9")
    assert b"IEND" in marks["damaged.png"]
    assert not marks["cut.jpg"].endswith(b"\xff\xd9")
    assert b"IEND" not in marks["cut.png"]
