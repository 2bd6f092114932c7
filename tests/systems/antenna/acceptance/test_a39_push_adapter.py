"""A39: a model service that is called one picture at a time gives the same as the same models here."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limner.domain.values import Value
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.push.service import SLUG, ModelService
from tests.systems.antenna.trap import DETECT, Trap, edit, images_of, new_project

pytestmark = pytest.mark.slow
PUSHED = ("OBJECT_DETECTION", "process-service")
SORTED = ("CLASSIFICATION", "process-service")


@pytest.fixture(scope="module")
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trap, ModelService]]:
    """A project whose template was filled in with a service, and that service."""
    folder = new_project(tmp_path_factory.mktemp("push") / "trap")
    with ExitStack() as stack:
        service = stack.enter_context(ModelService())
        fill_in(folder, service)
        settings = {"allow_hosts": ["127.0.0.1"], "facades": [], "parallel": 1}
        server = LocalServer(load_project(folder, environment={}, options=settings))
        yield Trap(stack.enter_context(server)), service


def fill_in(folder: Path, service: ModelService) -> None:
    """What a user edits in the template, and a pause between tries that tests can wait for."""
    edit(folder / "pipeline.py", 'SERVICE_URL = ""', f'SERVICE_URL = "{service.url}"')
    edit(folder / "pipeline.py", 'SERVICE_PIPELINE = ""', f'SERVICE_PIPELINE = "{SLUG}"')
    edit(folder / "pipeline.py", "delay=timedelta(seconds=2)", "delay=timedelta(seconds=0.1)")


def boxes(trap: Trap, job: "object", name: str) -> list[list[int]]:
    """The boxes of one picture."""
    return sorted(line.fields["box"] for line in trap.detections(job, name))  # type: ignore[arg-type]  # a job


def test_same_as_pulled(
    pushing: tuple[Trap, ModelService], pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """The service runs what is in the box: its boxes are those of the box, its labels come along, and bytes do not."""
    # given
    trap, service = pushing
    images = images_of(small_night, url=pictures.url)

    # when
    pushed, pulled = trap.run(images, [PUSHED]), trap.run(images, [DETECT])

    # then
    assert (pushed.state, pulled.state) == ("done", "done")
    for frame in small_night:
        assert boxes(trap, pushed, frame.name) == boxes(trap, pulled, frame.name) != []
    (line, *_) = trap.detections(pushed, small_night[0].name)
    assert line.fields["classifications"][0]["algorithm"] == "shape-classifier"
    assert {one["url"] for body in service.asked for one in body["source_images"]} == {one["url"] for one in images}


def test_service_classifies_boxes_of_others(
    pushing: tuple[Trap, ModelService], pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Boxes that were found here are classified there."""
    # given
    trap, _ = pushing
    images = [{**one, "id": f"sorted/{one['id']}"} for one in images_of(small_night[:1], url=pictures.url)]

    # when
    job = trap.run(images, [DETECT, SORTED])

    # then
    lines = trap.detections(job, str(images[0]["id"]))
    assert lines
    assert all(len(line.values["classify"]["labels"]) == 4 for line in lines)


def test_empty_picture_from_a_service(pushing: tuple[Trap, ModelService], pictures: PictureServer) -> None:
    """A detection without a box is a picture without detections, which is done."""
    # given
    trap, _ = pushing

    # when
    job = trap.run([{"id": "empty", "url": pictures.url("empty.jpg")}], [PUSHED])

    # then
    assert (job.state, trap.detections(job, "empty")) == ("done", [])


def test_passing_trouble_is_tried_three_times_more(
    pushing: tuple[Trap, ModelService], pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Three answers of 500 and a right one are one good result; a service that stays ill fails its pictures."""
    # given
    trap, service = pushing
    image = {"id": "trouble", "url": pictures.url(small_night[1].name)}
    before = len(service.asked)

    def spoil(answer: dict[str, Value]) -> dict[str, Value] | tuple[int, str]:
        return (500, "busy") if len(service.asked) - before <= 3 else answer

    # when
    service.spoil = spoil
    mended = trap.run([image], [PUSHED])
    service.spoil = lambda answer: (500, "broken")
    ill = trap.run([{**image, "id": "ill"}], [PUSHED])
    service.spoil = lambda answer: answer

    # then
    assert mended.state == "done"
    assert (ill.state, trap.failures(ill)) == ("failed", {"traps:ill": "MODEL_UNAVAILABLE"})
    assert len(service.asked) - before == 8
