"""Crop cuts a box out of its picture as a JPEG of its own."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.domain.outputs import Artifact
from limner.domain.reads import FileRead
from limner.domain.values import encode
from limner.inferrers.host import Host
from limner.systems.antenna.crop import Crop
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.inferrers.cases import codes_of, file_cell, runtime, values_of
from tests.systems.antenna.inferrers.matching import well


def test_crop_holds_the_pixels_of_the_box(frame: TrapFrame) -> None:
    """The file is a JPEG without EXIF, as large as the box, and shows what is in it."""
    # given
    box = list(frame.things[0].box)

    # when
    (answer,) = well(Crop().infer([frame.image], [box]))

    # then
    with Image.open(io.BytesIO(answer["crop"])) as crop:
        assert crop.format == "JPEG"
        assert not crop.getexif()
        assert crop.size == (box[2] - box[0], box[3] - box[1])
        shown = np.asarray(crop.convert("RGB"), dtype=np.float64)
    wanted = np.asarray(frame.image.crop(frame.things[0].box), dtype=np.float64)
    assert np.abs(shown - wanted).mean() < 4


def test_margin_stops_at_the_edges() -> None:
    """A margin widens the box on each side, but never beyond the picture."""
    picture = Image.new("RGB", (100, 60))
    (answer,) = well(Crop(margin=0.5).infer([picture], [[0, 20, 40, 40]]))
    with Image.open(io.BytesIO(answer["crop"])) as crop:
        assert crop.size == (60, 40)


def test_quality_decides_about_bytes(frame: TrapFrame) -> None:
    """A lower quality makes a smaller file; the same quality the same bytes."""
    box = list(frame.things[0].box)
    small, large, again = (well(Crop(quality=q).infer([frame.image], [box]))[0]["crop"] for q in (40, 92, 92))
    assert len(small) < len(large)
    assert large == again


def test_box_outside_its_picture_fails_alone(frame: TrapFrame) -> None:
    """A box that does not lie in its picture fails as OUTPUT_INVALID and spares its neighbours."""
    wrong, right = Crop().infer([frame.image] * 2, [[10, 10, 99999, 20], [10, 10, 20, 20]])
    assert isinstance(wrong, ValueError)
    assert getattr(wrong, "code", None) == "OUTPUT_INVALID"
    assert "does not lie in its picture of 1280 × 720" in str(wrong)
    assert isinstance(right, dict)


def test_parameters_are_checked() -> None:
    """A quality that no JPEG has is told."""
    with pytest.raises(ValueError, match="quality is 1 to 95"):
        Crop(quality=100)


def test_platform_stores_the_crop_as_a_file(tmp_path: Path, frame: TrapFrame) -> None:
    """Run by the platform on one file and two boxes, each answer is a reference to the bytes of its crop."""
    # given
    source = tmp_path / "capture.png"
    frame.image.save(source)
    wanted = runtime(
        "limner.systems.antenna.crop:Crop",
        reads={"image": FileRead(upright=False), "box": None},
        outputs={"crop": Artifact(kind="image/jpeg")},
    )
    host = Host(wanted, scratch=tmp_path)
    boxes = [list(thing.box) for thing in frame.things[:2]]

    # when
    ran = host.run({"image": [file_cell(source)] * 2, "box": [encode(box) for box in boxes]}, prior=[b""] * 2)

    # then
    assert codes_of(ran.outcomes) == [None, None]
    assert [value["crop"]["kind"] for value in values_of(ran.outcomes)] == ["image/jpeg"] * 2
    expected = [answer["crop"] for answer in well(Crop().infer([frame.image] * 2, list(boxes)))]
    assert [file.path.read_bytes() for file in ran.files] == expected
