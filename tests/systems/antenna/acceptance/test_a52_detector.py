"""A52: the detector that ships finds the insects on real photographs, as its users ask for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limner.testing.picture_server import PictureServer
from tests.systems.antenna.door import Door
from tests.systems.antenna.trap import DETECT

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
_MOST_EXTRAS = 8


def test_detector_is_right(door: Door, shared_data: Path, tmp_path: Path) -> None:
    """Of the clear insects on eight pictures 85 % are found, with at most eight other things a picture."""
    # given
    folder = shared_data / "antenna"
    names = sorted(
        path.relative_to(folder / "images").as_posix()
        for night in ("vermont", "sequential")
        for path in (folder / "images" / night).glob("*.jpg")
    )
    with PictureServer(folder / "images") as server:
        images = [{"id": name, "url": server.url(name)} for name in names]

        # when
        ended = door.run(door.body("a52", images, [DETECT]))

    # then
    assert ended["status"] == "COMPLETED"
    found = {
        name: [{**one["boundingBox"], "track": None} for one in image["detections"]]
        for name, image in door.results(ended["requestId"]).items()
    }
    results = tmp_path / "found.json"
    results.write_text(json.dumps(found), encoding="utf-8")
    command = [sys.executable, str(folder / "score.py"), str(folder / "truth" / "boxes.json"), str(results)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    recall = re.search(r"recall (\d+)/(\d+)", told)
    assert recall is not None
    assert int(recall[1]) >= 0.85 * int(recall[2]), told
    extras = [int(one) for one in re.findall(r"detections +\d+ extra +(\d+)", told)]
    assert len(extras) == len(names) == 8
    assert max(extras) <= _MOST_EXTRAS, told
