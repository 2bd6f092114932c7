"""Real odd and broken pictures end as they must, through inferrers that take pictures and one that takes paths."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from limner.domain.reads import FileRead
from limner.domain.tasks import Status
from limner.domain.values import Value
from limner.inferrers.host import Host
from tests.inferrers.cases import codes_of, run_files, runtime, values_of

UserModule = Callable[[str], str]

MEASURED = """
    from pathlib import Path
    import numpy as np
    from PIL import Image

    def colours(image: list[Image.Image]) -> list[dict]:
        small = [picture.resize((100, 100), Image.Resampling.BILINEAR) for picture in image]
        means = [np.asarray(p.resize((50, 50), Image.Resampling.NEAREST)).reshape(-1, 3).mean(axis=0) for p in small]
        return [
            {"aspect_ratio": p.width / p.height, "average": [int(part) for part in mean]}
            for p, mean in zip(image, means)
        ]

    def _opened(path):
        try:
            with Image.open(path) as picture:
                picture.load()
                return picture.width
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            return error

    def opened(image: list[Path]) -> list[object]:
        return [_opened(path) for path in image]
"""


@pytest.fixture
def odd(shared_data: Path) -> tuple[list[Path], list[dict[str, Value]]]:
    """The odd pictures and what is expected of each."""
    folder = shared_data / "catalogue" / "odd"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return [folder / name for name in expected], list(expected.values())


@pytest.mark.real_data
def test_odd_pictures_end_as_expected(user_module: UserModule, odd: tuple[list[Path], list[dict[str, Value]]]) -> None:
    """All in one batch: legal ones have the expected ratio and colour, broken ones the expected code."""
    # given
    paths, expected = odd
    host = Host(runtime(f"{user_module(MEASURED)}:colours", reads={"image": FileRead()}, batch=32))

    # when
    outcomes = run_files(host, *paths)

    # then
    codes, values = codes_of(outcomes), values_of(outcomes)
    assert [outcome.status for outcome in outcomes].count(Status.DONE) == 9
    for path, wanted, code, value in zip(paths, expected, codes, values, strict=True):
        if wanted["end"] == "failed":
            assert code in wanted["codes"], path.name
            continue
        assert code is None, path.name
        assert value["aspect_ratio"] == pytest.approx(wanted["aspect_ratio"], abs=1e-6), path.name
        channels = bytes.fromhex(str(wanted["average_color_hex"])[1:])
        assert value["average"] == pytest.approx(list(channels), abs=2), path.name


@pytest.mark.real_data
def test_broken_pictures_behind_paths_have_the_same_codes(
    user_module: UserModule, odd: tuple[list[Path], list[dict[str, Value]]]
) -> None:
    """An inferrer that opens the paths itself ends with the same codes."""
    # given
    paths, expected = odd
    host = Host(runtime(f"{user_module(MEASURED)}:opened", reads={"image": FileRead()}, batch=32))

    # when
    codes = codes_of(run_files(host, *paths))

    # then
    for path, wanted, code in zip(paths, expected, codes, strict=True):
        assert code in wanted.get("codes", [None]), path.name
