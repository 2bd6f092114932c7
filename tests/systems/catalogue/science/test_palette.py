"""The palette: exact, repeatable, and that of the original without its noise."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.systems.catalogue import plates
from limner.systems.catalogue.palette import Palette, colour_table, histogram, unit


def vector_of(answer: dict[str, object] | Exception) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The vector of an answer that is none of an error."""
    assert isinstance(answer, dict)
    vector = answer["vector"]
    assert isinstance(vector, np.ndarray)
    return vector


def channels(hexadecimal: object) -> list[int]:
    """Red, green and blue of "#rrggbb"."""
    assert isinstance(hexadecimal, str)
    assert hexadecimal[0] == "#"
    assert len(hexadecimal) == 7
    return [int(hexadecimal[at : at + 2], 16) for at in (1, 3, 5)]


def test_i7_palette_is_repeatable() -> None:
    """A picture has the same palette to the byte alone, in a batch, and from another instance."""
    # given
    pictures = [plates.plate(index, seed=2).image for index in range(6)]

    # when
    together = Palette().infer(pictures)
    alone = [Palette().infer([picture])[0] for picture in pictures]

    # then
    assert [vector_of(one).tobytes() for one in together] == [vector_of(one).tobytes() for one in alone]


def test_palette_repeatable() -> None:
    """Two processes give the same bytes for the same picture."""
    # given
    program = (
        "import hashlib; from limner.systems.catalogue import palette, plates;"
        "answer = palette.Palette().infer([plates.plate(3, seed=8).image])[0];"
        "print(hashlib.sha256(answer['vector'].tobytes()).hexdigest(), answer['average_color_hex'])"
    )

    # when
    answers = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]

    # then
    assert answers[0] == answers[1]
    assert len(answers[0].split()[0]) == 64


def test_palette_is_what_noise_tends_to() -> None:
    """The histogram agrees with really adding noise to every pixel, counting, and dropping what leaves the range."""
    # given
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (200, 3)).astype(np.uint8)

    # when
    noisy = np.repeat(pixels, 5000, axis=0) + random.normal(0, 30, (1_000_000, 3))
    # Few bins: with ten a channel, a million draws still scatter by more than what is tested. Clipping instead of
    # dropping would give 0.983 here.
    counted, _ = np.histogramdd(noisy, bins=(4, 4, 4), range=[(0, 255)] * 3)
    expected = unit(counted.ravel())

    # then
    assert float(histogram(pixels, bins=4, noise_std=30.0) @ expected) >= 0.9999


def test_order_of_addition_does_not_show() -> None:
    """Sums are exact: pixels in any order, as other libraries and processors would add them, give the same bytes."""
    # given
    pixels = np.random.default_rng(3).integers(0, 256, (2500, 3)).astype(np.uint8)
    straight = histogram(pixels, bins=10, noise_std=30.0)

    # then
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(pixels)
        assert histogram(shuffled, bins=10, noise_std=30.0).tobytes() == straight.tobytes()


def test_white_weighs_an_eighth() -> None:
    """Noise that leaves the range is dropped: black and white count an eighth of a mid-tone."""
    # given
    weights = colour_table(bins=10, noise_std=30.0).sum(axis=1)

    # then
    assert weights[0] ** 3 == pytest.approx(1 / 8, rel=1e-6)
    assert weights[255] ** 3 == pytest.approx(1 / 8, rel=1e-6)
    assert weights[128] == pytest.approx(1, abs=1e-4)


def test_index_is_red_then_green_then_blue() -> None:
    """A pure colour lies where 100·red + 10·green + blue says."""
    # given
    pixel = np.array([[12, 140, 240]], dtype=np.uint8)

    # then
    assert histogram(pixel, bins=10, noise_std=2.0).argmax() == 100 * 0 + 10 * 5 + 9


def test_palette_is_unit_and_as_long_as_declared() -> None:
    """The vector has bins³ float32 numbers and length 1."""
    # given
    picture = plates.plate(1, seed=1).image

    # when
    vector = vector_of(Palette(bins=6, noise_std=20.0, sizes=[50, 25]).infer([picture])[0])

    # then
    assert vector.shape == (216,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-6)


def test_average_colour_is_cut_not_rounded() -> None:
    """The mean of the small square is cut to integers, as in the original."""
    # given half a picture in 10 and half in 11: mean 10.5
    picture = Image.new("RGB", (50, 50), (10, 10, 10))
    picture.paste((11, 11, 11), (0, 0, 25, 50))

    # when
    answer = Palette(sizes=(50, 50)).infer([picture])[0]

    # then
    assert isinstance(answer, dict)
    assert answer["average_color_hex"] == "#0a0a0a"


def test_unreadable_picture_spares_its_batch() -> None:
    """A picture whose pixels cannot be decoded is an exception in its place; its neighbours have palettes."""
    # given
    good = plates.plate(1, seed=1).image
    buffer = io.BytesIO()
    good.save(buffer, "JPEG")
    cut = Image.open(io.BytesIO(buffer.getvalue()[:2000]))

    # when
    answers = Palette().infer([good, cut, good])

    # then
    assert isinstance(answers[1], OSError)
    assert vector_of(answers[0]).tobytes() == vector_of(answers[2]).tobytes()


def test_zero_vector_rejected() -> None:
    """A vector without length has no direction, and is refused rather than divided by zero."""
    with pytest.raises(ValueError, match="length zero"):
        unit(np.zeros(1000))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"bins": 1}, "at least 2 bins"),
        ({"noise_std": 0.0}, "positive"),
        ({"noise_std": 300.0}, "up to 255"),
        ({"sizes": (100,)}, "two whole numbers"),
    ],
)
def test_parameters_that_make_no_palette(parameters: dict[str, int], words: str) -> None:
    """A parameter that makes no sense is refused when the inferrer is made, in words."""
    with pytest.raises(ValueError, match=words):
        Palette(**parameters)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.real_data
def test_i7_palette_is_that_of_the_original(shared_data: Path) -> None:
    """On every real picture the cosine with the original's mean palette is 0.999 and colours agree within one."""
    # given
    folder = shared_data / "catalogue"
    expected = np.load(folder / "palette_expected.npz")
    colours = json.loads((folder / "expected.json").read_text())["pictures"]
    names = [str(name) for name in expected["name"]]
    pictures = [Image.open(folder / "pictures" / name).convert("RGB") for name in names]

    # when
    answers = Palette().infer(pictures)

    # then
    assert (
        min(float(vector_of(one) @ wanted) for one, wanted in zip(answers, expected["palette"], strict=True)) >= 0.999
    )
    for name, answer in zip(names, answers, strict=True):
        assert isinstance(answer, dict)
        pair = channels(answer["average_color_hex"]), channels(colours[name]["average_color_hex"])
        assert np.abs(np.subtract(*pair)).max() <= 1, name
