"""Blobs and the tracker on real pictures with hand-drawn boxes; the data's own script is the judge."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.domain.reads import FileRead
from limner.inferrers.pictures import decode_picture
from limner.systems.antenna.blobs import Blobs
from limner.systems.antenna.colour_histogram import ColourHistogram
from limner.systems.antenna.tracker import link
from tests.systems.antenna.inferrers.matching import box_of, well

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def judged(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the judge prints of all pictures, without any region ignored."""
    folder = shared_data / "antenna"
    frames = [_frame(path) for path in sorted((folder / "images").glob("[vs]*/*.jpg"))]
    found = link([frame for frame in frames if "sequential" in str(frame["folder"])])["tracks"]
    assert isinstance(found, list)
    track_of = {detection: one["id"] for one in found for detection in one["detections"]}
    results = {str(frame["id"]): _boxes(frame, track_of) for frame in frames}
    written = tmp_path_factory.mktemp("judged") / "results.json"
    written.write_text(json.dumps(results))
    command = [sys.executable, str(folder / "score.py"), str(folder / "truth" / "boxes.json"), str(written)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a52_detector_is_right(judged: str) -> None:
    """At least 85 of 100 clear insects are found, and no picture has more than 8 extras."""
    (recall,) = re.findall(r"recall \d+/\d+ = ([\d.]+)", judged)
    extras = [int(number) for number in re.findall(r"extra +(\d+)$", judged, flags=re.MULTILINE)]
    assert float(recall) >= 0.85
    assert len(extras) == 8
    assert max(extras) <= 8


def test_a36_tracks_are_right(judged: str) -> None:
    """Of 50 moves between neighbouring frames at least 45 are linked, and at most 2 links are wrong."""
    ((right, wanted, wrong),) = re.findall(r"links (\d+)/(\d+) +wrong links (\d+)", judged)
    assert int(wanted) == 50
    assert int(right) >= 45
    assert int(wrong) <= 2


def test_a16_odd_pictures_beside_real_ones(shared_data: Path) -> None:
    """Legal but odd files and real pictures in one call: boxes in stored pixels, and nothing on the blank one."""
    # given
    folder = shared_data / "antenna" / "images"
    paths = [*sorted((folder / "bad").glob("ok-*")), *sorted((folder / "vermont").glob("*.jpg"))]
    pictures = [decode_picture(path, read=FileRead(upright=False)) for path in paths]

    # when
    answers = dict(zip(paths, well(Blobs().infer(pictures)), strict=True))

    # then
    assert len({picture.size for picture in pictures}) > 2
    for path, detections in answers.items():
        with Image.open(path) as stored:
            width, height = stored.size
        for x1, y1, x2, y2 in (box_of(one) for one in detections):
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    assert answers[folder / "bad" / "ok-blank.png"] == []


def _frame(path: Path) -> dict[str, object]:
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    (detections,) = well(Blobs().infer([picture]))
    boxes = [box_of(one) for one in detections]
    colours = well(ColourHistogram().infer([picture] * len(boxes), list(boxes)))
    return {
        "id": path.name,
        "folder": path.parent.name,
        "order": path.name[:14],
        "size": list(picture.size),
        "detections": [
            {"id": f"{path.stem}-{row}", "box": box, "vector": colour["vector"]}
            for row, (box, colour) in enumerate(zip(boxes, colours, strict=True))
        ],
    }


def _boxes(frame: dict[str, object], track_of: dict[str, str]) -> list[dict[str, object]]:
    detections = frame["detections"]
    assert isinstance(detections, list)
    return [
        {**dict(zip(("x1", "y1", "x2", "y2"), one["box"], strict=True)), "track": track_of.get(one["id"])}
        for one in detections
    ]
