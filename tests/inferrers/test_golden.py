"""Golden cases are reproduced, or the inferrer is not given work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner.domain.reads import FileRead
from limner.errors import InferrerBroken
from limner.inferrers.connect import load_inferrer
from limner.inferrers.golden import check_golden
from limner.inferrers.host import Host
from tests.inferrers.cases import runtime

UserModule = Callable[[str], str]

HALVED = """
    import numpy as np
    class Halved:
        golden = {golden}
        def infer(self, x: list[float]) -> list[object]:
            return [{{"half": v / 2, "all": np.array([v, v]), "odd": True}} if v else ValueError("zero") for v in x]
"""


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ({"inputs": {"x": 3}, "output": {"half": 1.5, "all": [3, 3]}}, None),
        ({"inputs": {"x": 3}, "output": {"half": 1.5001}}, None),
        ({"inputs": {"x": 3}, "output": {"half": 1.5001}, "tolerance": 1e-6}, "the output.half is 1.5 and not 1.5001"),
        ({"inputs": {"x": 3}, "output": {"half": 2}}, "the output.half is 1.5 and not 2"),
        ({"inputs": {"x": 3}, "output": {"all": [3, 4]}}, "the output.all[1] is 3 and not 4"),
        ({"inputs": {"x": 3}, "output": {"all": [3]}}, "the output.all has 2 items and not 1"),
        ({"inputs": {"x": 3}, "output": {"more": 1}}, "the output.more is None and not 1"),
        ({"inputs": {"x": 3}, "output": {"odd": True}}, None),
        ({"inputs": {"x": 3}, "output": {"odd": 1}}, "the output.odd is True and not 1"),
        ({"inputs": {"x": 0}, "output": {"half": 0}}, "it failed with ValueError: zero"),
        ({"inputs": {"y": 0}, "output": {"half": 0}}, "it failed with KeyError"),
    ],
)
def test_cases_are_compared(user_module: UserModule, case: dict[str, object], problem: str | None) -> None:
    """Numbers may be off by the tolerance, everything else is equal, and what differs is named."""
    # given
    inferrer = load_inferrer(runtime(f"{user_module(HALVED.format(golden=None))}:Halved"), model_path=None)

    # when
    found = check_golden(inferrer, [case])

    # then
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_host_refuses_what_does_not_reproduce_its_cases(user_module: UserModule) -> None:
    """An inferrer that carries cases and breaks one is not loaded."""
    # given
    good = [{"inputs": {"x": 3}, "output": {"half": 1.5}}]
    bad = [*good, {"inputs": {"x": 5}, "output": {"half": 1.5}}]

    # when / then
    Host(runtime(f"{user_module(HALVED.format(golden=good))}:Halved"))
    with pytest.raises(InferrerBroken, match="Golden case 2 is not reproduced"):
        Host(runtime(f"{user_module(HALVED.format(golden=bad))}:Halved"))


def test_cases_stand_in_a_file_beside_the_source(user_module: UserModule, tmp_path: Path) -> None:
    """Cases may be a JSON file beside the source, and their pictures files beside that."""
    # given
    name = user_module("""
        from PIL import Image
        class Wide:
            golden = "golden/wide.json"
            def infer(self, image: list[Image.Image]) -> list[dict]:
                return [{"width": picture.width} for picture in image]
    """)
    folder = tmp_path / "golden"
    folder.mkdir()
    Image.new("RGB", (7, 5)).save(folder / "seven.png")
    cases = [{"inputs": {"image": {"file": "seven.png"}}, "output": {"width": 7}}]
    wanted = runtime(f"{name}:Wide", reads={"image": FileRead()})

    # when / then
    (folder / "wide.json").write_text(json.dumps(cases))
    Host(wanted)
    cases[0]["output"] = {"width": 8}
    (folder / "wide.json").write_text(json.dumps(cases))
    with pytest.raises(InferrerBroken, match="width is 7 and not 8"):
        Host(wanted)
    (folder / "wide.json").unlink()
    with pytest.raises(InferrerBroken, match="golden cases cannot be read"):
        Host(wanted)
