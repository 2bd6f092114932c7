"""What a recipe holds is enough: a worker that has that and nothing else does its stage's work."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from limner.app.image_parts import Part
from limner.app.imaging import Ask, Image, write_image
from limner.settings import load_project
from tests.far.rig import Server
from tests.waiting import LONG

PIPELINE = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("double", infer="shop.inferrers:Double", reads={"number": "number"}, outputs={"value": Number()}),
])
"""
INFERRERS = """
from shop.factor import FACTOR


class Double:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        return [{"value": FACTOR * one} for one in number]
"""
#: Reads a picture without a word of who decodes it.
PICTURES = """
from limner import Number, Pipeline, Stage, file

pipeline = Pipeline("seen", collection="things", stages=[
    Stage("wide", infer="wide:wide", reads={"image": file("url")}, outputs={"width": Number()}),
])
"""
WIDE = 'def wide(image: "Image") -> dict:\n    return {"width": image.width}\n'


def installed(image: Image, folder: Path) -> list[str]:
    """A Python that has what *image* holds and nothing besides, as its recipe would install it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(next(Path(image.folder).glob("*.whl"))) as wheel:
        wheel.extractall(site)
    _link(image.distributions, site)
    return [str(folder / "bin" / "python"), "-m", "limner.cli.main", "--project", str(Path(image.folder) / "project")]


def _link(parts: Iterable[Part], site: Path) -> None:
    """Put the packages of the installed distributions beside each other, their commands left out."""
    for part in parts:
        distribution = metadata.distribution(part.name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(str(distribution.locate_file(top)))


def typed(words: list[str], *, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with nothing of this machine's settings."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("LIMNER_", "PYTHON")) and "proxy" not in k.lower()
    }
    return subprocess.run(
        words, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=LONG.total_seconds()
    )


@pytest.mark.slow
def test_a_worker_of_the_image_ends_a_job(tmp_path: Path) -> None:
    """From the files that the recipe copies and the parts that it pins, a job of the stage is done to its end."""
    # given
    home = tmp_path / "project"
    (home / "shop").mkdir(parents=True)
    (home / "shop" / "inferrers.py").write_text(INFERRERS)
    (home / "shop" / "factor.py").write_text("FACTOR = 2\n")
    with Server(home, pipeline=PIPELINE, inferrers="") as server:
        image = write_image(load_project(home, environment={}), Ask(stage="far.double"))
        limner = installed(image, tmp_path / "env")
        job = server.submit([{"number": number} for number in (1, 2, 3)])

        # when
        done = typed(
            [*limner, "worker", "--url", server.url, "--stage", "far.double", "--idle-exit", "8"], folder=tmp_path
        )

        # then
        assert done.returncode == 0, done.stderr
        assert server.counts(job).done == 3


@pytest.mark.slow
def test_pictures_are_decoded_where_only_an_annotation_asks(tmp_path: Path) -> None:
    """An inferrer that imports nothing is handed a picture all the same, by what the image holds."""
    # given
    from PIL import Image as Pictures

    home = tmp_path / "project"
    home.mkdir()
    (home / "pipeline.py").write_text(PICTURES)
    (home / "wide.py").write_text(WIDE)
    Pictures.new("RGB", (30, 20)).save(tmp_path / "a.png")
    image = write_image(load_project(home, environment={}), Ask(stage="wide"))

    # when
    done = typed([*installed(image, tmp_path / "env"), "try", "wide:wide", str(tmp_path / "a.png")], folder=tmp_path)

    # then
    assert done.returncode == 0, done.stderr
    assert "30" in done.stdout
