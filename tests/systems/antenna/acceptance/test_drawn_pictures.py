"""Pictures of a request, drawn on when they are asked for."""

import httpx
import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.systems.antenna.test_drawn import changed, opened
from tests.systems.antenna.trap import CLASSIFY, DETECT, FEATURES, TRACK


@pytest.mark.slow
def test_picture_of_a_request(door: Door, small_night: list[TrapFrame]) -> None:
    """The route answers with the source's picture, drawn on; ids of any letters find theirs, and others are 404."""
    # given
    name = small_night[0].name
    images = [{**image, "id": f"night/1={image['id']}"} for image in door.images([name])]
    request = door.run(door.body("drawn", images, [DETECT, CLASSIFY, FEATURES, TRACK]))["requestId"]

    # when
    answer = door.client.get(f"/requests/{request}/items/night/1={name}/drawn.jpg")
    small = door.client.get(f"/requests/{request}/items/night/1={name}/drawn.jpg", params={"width": 320})
    absent = door.client.get(f"/requests/{request}/items/nobody/drawn.jpg")

    # then
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert opened(answer.content).size == small_night[0].image.size
    assert opened(small.content).width == 320
    after = changed(opened(small_night[0].jpeg()), opened(answer.content))
    found = door.results(request)[f"night/1={name}"]["detections"]
    assert found
    for box in (one["boundingBox"] for one in found):
        assert after[box["y1"] : box["y2"], box["x1"]].mean() > 0.5
    assert absent.status_code == httpx.codes.NOT_FOUND
