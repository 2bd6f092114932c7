"""Searching by one colour: three ways to ask, one basis with the encoder."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.systems.catalogue.codes import Floats
from limner.systems.catalogue.palette import Palette, colour


@pytest.fixture(scope="module")
def plain() -> tuple[list[str], Floats]:
    """1,000 random colours, and the palettes of plain pictures of them."""
    colours = np.random.default_rng(1).integers(0, 256, (1000, 3))
    pictures = [Image.new("RGB", (60, 60), (int(red), int(green), int(blue))) for red, green, blue in colours]
    answers = [answer for answer in Palette().infer(pictures) if isinstance(answer, dict)]
    names = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]
    return names, np.stack([np.asarray(answer["vector"]) for answer in answers])


@pytest.mark.parametrize(
    ("mode", "least", "most"), [("default", 0.90, 1.0), ("compat", 0.45, 0.55), ("matched", 1.0, 1.0)]
)
def test_s3_colour_modes(mode: str, least: float, most: float, plain: tuple[list[str], Floats]) -> None:
    """A plain picture is found first by its own colour: 90 % by default, half in the original's way, all matched."""
    # given
    colours, stored = plain

    # when: one product for all scores, since two products differ in the last bit and hide ties
    queries = np.stack([colour(one, mode=mode) for one in colours])
    own_first = float(np.mean((queries @ stored.T).argmax(axis=1) == np.arange(1000)))

    # then
    assert least <= own_first <= most


def test_query_uses_encoder_bins() -> None:
    """The query follows the stage's bins and noise by itself: a matched query is the palette of a plain picture."""
    # given
    picture = Image.new("RGB", (70, 70), (34, 187, 255))
    answer = Palette(bins=7, noise_std=22.0).infer([picture])[0]

    # when
    query = colour("22bbff", bins=7, noise_std=22.0, mode="matched")

    # then
    assert isinstance(answer, dict)
    assert float(np.asarray(answer["vector"]) @ query) == pytest.approx(1, abs=1e-6)
    assert colour("22bbff", bins=7).shape == (343,)


def test_query_blur_is_free() -> None:
    """The blur of the default query is a matter of the query alone; with the stage's noise it is the matched one."""
    assert np.array_equal(colour("#a03020", query_blur=30.0), colour("#a03020", mode="matched"))
    assert not np.array_equal(colour("#a03020"), colour("#a03020", mode="matched"))


@pytest.mark.parametrize("value", ["", "red", "#12345", "#1234567", "#12345g", "##123456", "#123456\n"])
def test_bad_hex_is_refused_in_words(value: str) -> None:
    """What is not six hex digits is refused with a sentence that says what to write."""
    with pytest.raises(ValueError, match="write six hex digits such as #aa3311"):
        colour(value)


def test_unknown_mode_is_refused() -> None:
    """An unknown way to search by colour names the known ones."""
    with pytest.raises(ValueError, match="default, compat or matched"):
        colour("#aa3311", mode="fuzzy")


def words_of(document: object) -> str:
    """All text in a document, lower-cased."""
    if isinstance(document, str):
        return document.lower()
    if isinstance(document, dict):
        return " ".join(words_of(value) for value in document.values())
    return " ".join(words_of(value) for value in document) if isinstance(document, list) else ""


@pytest.fixture
def real_palettes(shared_data: Path) -> tuple[dict[str, Floats], dict[str, str]]:
    """The palettes and the words of nine real images, by name."""
    folder = shared_data / "catalogue"
    vectors = np.load(folder / "real_image_vectors.npz")
    lines = (folder / "real_images.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    names = [str(name) for name in vectors["fixture"]]
    palettes = dict(zip(names, vectors["palette"], strict=True))
    return palettes, {row["fixture"]: words_of(row["document"]["query"]) for row in rows}


@pytest.mark.real_data
@pytest.mark.parametrize("mode", ["default", "compat"])
def test_s2_colour_orders_of_the_original(
    mode: str, shared_data: Path, real_palettes: tuple[dict[str, Floats], dict[str, str]]
) -> None:
    """Words filter and colour orders real images as the original's own tests demand."""
    # given
    palettes, words = real_palettes
    cases = json.loads((shared_data / "catalogue" / "expected.json").read_text())["colour_search"]

    for case in cases:
        # when
        asked = case.get("query", "").split()
        found = [name for name in case["candidates"] if all(re.search(rf"\b{word}\b", words[name]) for word in asked)]
        scores = np.stack([palettes[name] for name in found]) @ colour(case["color"], mode=mode)

        # then
        assert [found[at] for at in np.argsort(-scores)] == case["expected_order"], case["name"]
