"""An algorithm that its service did not declare burned all retries: it is refused, once."""

from pathlib import Path

import pytest

from limner.domain.values import Value
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.acceptance.test_a39_push_adapter import PUSHED, fill_in
from tests.systems.antenna.push.service import ModelService
from tests.systems.antenna.trap import Trap, images_of


@pytest.mark.slow
def test_undeclared_algorithm_refused_once(
    trap_folder: Path, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """The picture ends as OUTPUT_INVALID after one call; its neighbours are done."""
    # given
    bad = pictures.url(small_night[1].name)

    def spoil(answer: dict[str, Value]) -> dict[str, Value]:
        if answer["source_images"][0]["url"] == bad:
            for detection in answer["detections"]:
                detection["algorithm"] = {"key": "surprise", "name": "Surprise"}
        return answer

    with ModelService() as service:
        service.spoil = spoil
        fill_in(trap_folder, service)
        settings = {"allow_hosts": ["127.0.0.1"], "facades": [], "parallel": 1}
        with LocalServer(load_project(trap_folder, environment={}, options=settings)) as server:
            trap = Trap(server)

            # when
            job = trap.run(images_of(small_night, url=pictures.url), [PUSHED])

            # then
            assert job.state == "done_with_failures"
            assert trap.failures(job) == {f"traps:{small_night[1].name}": "OUTPUT_INVALID"}
            urls = [one["url"] for body in service.asked for one in body["source_images"]]
            assert urls.count(bad) == 1
            assert trap.counts(job).done == 2
