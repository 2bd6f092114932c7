"""The project that `limner init --from antenna` makes: whole, in step with the system, and at work at once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from limner.app.declared import pipelines_of
from limner.settings import load_project
from limner.systems.antenna import system
from limner.systems.antenna.facade_settings import antenna_settings
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT, Trap, edit, images_of

OWN = {"pale-dark"}


def test_pipeline_is_the_systems(trap_folder: Path) -> None:
    """The template declares what the system declares, to the last limit and retry, and one classifier more."""
    # when
    (mine,) = pipelines_of(trap_folder / "pipeline.py")

    # then
    (theirs,) = system.pipelines
    assert structs.replace(mine, stages=theirs.stages, about=theirs.about) == theirs
    assert [stage.name for stage in mine.stages] == [stage.name for stage in theirs.stages]
    for stage, model in zip(mine.stages, theirs.stages, strict=True):
        ways = {name: way for name, way in stage.implementations.items() if name not in OWN}
        assert structs.replace(stage, implementations=ways) == model


def test_service_is_offered_once_it_is_named(trap_folder: Path) -> None:
    """Nothing calls a model service before its address is filled in; then detections and labels may come from it."""
    # given
    pipeline = trap_folder / "pipeline.py"
    (before,) = pipelines_of(pipeline)

    # when
    edit(pipeline, 'SERVICE_URL = ""', 'SERVICE_URL = "https://models.example.org"')
    edit(pipeline, 'SERVICE_PIPELINE = ""', 'SERVICE_PIPELINE = "moths"')
    (after,) = pipelines_of(pipeline)

    # then
    for stage in ("detect", "classify"):
        assert "process-service" not in before.stage(stage).implementations
        way = after.stage(stage).implementations["process-service"]
        assert way.params == {"url": "https://models.example.org", "pipeline": "moths"}
        assert not any(read.file for read in after.stage(stage).reads_of("process-service").values())


def test_names_of_clients(trap_folder: Path) -> None:
    """The names that the first client uses lead to what is in the box."""
    # when
    aliases = antenna_settings(load_project(trap_folder, environment={}).settings).aliases

    # then
    assert aliases == {"flatbug": "blobs", "mcc24": "size-shape", "features": "colour-histogram"}


@pytest.mark.slow
def test_its_own_test_passes(trap_folder: Path) -> None:
    """The project holds a test of its own inferrer, which needs nothing but pytest and Pillow."""
    # when
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=trap_folder, capture_output=True, text=True, check=False
    )

    # then
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_serves_at_once(trap: Callable[..., Trap], pictures: PictureServer, small_night: list[TrapFrame]) -> None:
    """A request for what is in the box, and for the project's own classifier, is done without an edit."""
    # given
    served = trap()

    # when
    job = served.run(images_of(small_night, url=pictures.url), [DETECT, CLASSIFY, ("CLASSIFICATION", "pale-dark")])

    # then
    assert job.state == "done"
    row = served.detections(job, small_night[0].name)[0]
    assert {label["name"] for label in row.values["classify/pale-dark"]["labels"]} == {"pale", "dark"}


@pytest.mark.slow
def test_runs_over_a_folder(trap_folder: Path, small_night: list[TrapFrame], tmp_path: Path) -> None:
    """Without a server, `limner run antenna FOLDER` looks at a folder of pictures."""
    # given
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / small_night[0].name).write_bytes(small_night[0].jpeg())

    # when
    typed = subprocess.run(
        [str(Path(sys.executable).with_name("limner")), "run", "antenna", str(folder), "--json"],
        cwd=trap_folder,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert typed.returncode == 0, typed.stdout + typed.stderr
