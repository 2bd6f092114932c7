"""A49: no address leads into this machine or its network, unless the settings allow it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer, Reply
from tests.systems.antenna.door import Door, served_as_files


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://[::1]/", "ftp://a/b"])
def test_callbacks_are_refused_at_the_door(
    own_door: Callable[..., Door], small_night: list[TrapFrame], url: str
) -> None:
    """A callback into this machine or its network is refused before anything is stored."""
    door = own_door(own_workers=False, allow_hosts=[])
    body = door.body("a49", door.images([small_night[0].name]))
    body["callback"]["callbackUrl"] = url

    answer = door.client.post("/createRequest", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "callback.callbackUrl"


def test_sources_are_refused_when_fetched(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """An address inside, a redirect inside, a file of this machine: each fails, and the next picture is done."""
    files = served_as_files(small_night[:1])
    with PictureServer(files) as open_server, PictureServer(files) as inner:
        door = own_door(allow_hosts=[open_server.host])
        (name,) = files
        open_server.plan("away.jpg", Reply(redirect=inner.url(name)))
        secret = door.server.projects.project.folder / "limner.toml"
        images = [
            {"id": "good", "url": open_server.url(name)},
            {"id": "inside", "url": inner.url(name)},
            {"id": "redirected", "url": open_server.url("away.jpg")},
            {"id": "metadata", "url": "http://169.254.169.254/latest/meta-data"},
            {"id": "file", "url": f"file://{secret}"},
            {"id": "path", "url": str(secret)},
            {"id": "ftp", "url": "ftp://example.org/a.jpg"},
        ]

        ended = door.run(door.body("a49", images, callback=False), within=timedelta(seconds=90))

        refused = {
            name: item["error"]["code"] for name, item in door.items(ended["requestId"]).items() if item["error"]
        }
        assert refused == dict.fromkeys([one["id"] for one in images[1:]], "SOURCE_REFUSED")
        assert ended["counts"]["completed"] == 1
        told = door.results(ended["requestId"])
        assert {one["id"]: told[one["id"]]["sourceImageUrl"] for one in images} == {
            one["id"]: one["url"] for one in images
        }
        assert inner.total() == 0
