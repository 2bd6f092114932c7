"""A server that speaks to the antenna's clients, pictures to ask about, and a listener for callbacks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from limner.clock import Clock
from limner.domain.values import Value
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import CallbackListener
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT
from tests.waiting import LONG, until

TOKEN = "the-callback-token"
#: What an original callback has, and nothing else.
IMAGE_KEYS = {"sourceImageId", "sourceImageUrl", "eventId", "stages", "detections"}
DETECTION_KEYS = {"id", "cropUrl", "version", "boundingBox", "classifications", "cnnFeatures"}
CLASSIFICATION_KEYS = {"algorithm", "labelIds", "labelNames", "displayScores", "scores"}
ENDED = ("COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED", "EXPIRED")


class Door:
    """What a client sees of a server."""

    def __init__(self, server: LocalServer, pictures: PictureServer, listener: CallbackListener) -> None:
        self.server = server
        self.pictures = pictures
        self.listener = listener

    @property
    def client(self) -> httpx.Client:
        """A client of the server."""
        return self.server.client

    def images(self, names: Iterable[str], *, event: str | None = "night") -> list[dict[str, Value]]:
        """Source images behind the names of pictures."""
        return [{"id": name, "url": self.pictures.url(name), "eventId": event} for name in names]

    def body(
        self,
        project: str,
        images: Sequence[Mapping[str, Value]],
        stages: Sequence[tuple[str, str]] = (DETECT, CLASSIFY),
        *,
        callback: bool = True,
        **more: Value,
    ) -> dict[str, Value]:
        """A request."""
        asked = [{"stage": stage, "stageImplementation": way} for stage, way in stages]
        found: dict[str, Value] = {
            "projectId": project,
            "jobId": f"job of {project}",
            "sourceImages": list(images),
            "pipelineConfig": {"stages": asked},
            **more,
        }
        if callback:
            found["callback"] = {"callbackUrl": self.listener.url, "callbackToken": TOKEN}
        return found

    def create(self, body: Mapping[str, Value], **headers: str) -> str:
        """Send a request; its id."""
        answer = self.client.post("/createRequest", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["requestId"])

    def run(self, body: Mapping[str, Value], *, within: timedelta = LONG) -> dict[str, Value]:
        """Send a request and wait for its end; where it stands then."""
        return self.ended(self.create(body), within=within)

    def status(self, request: str) -> dict[str, Value]:
        """Where a request stands; its counts add up, always."""
        answer = self.client.get(f"/requests/{request}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Value] = answer.json()
        counts = dict(found["counts"])
        assert counts.pop("total") == sum(counts.values())
        return found

    def ended(self, request: str, *, within: timedelta = LONG) -> dict[str, Value]:
        """Where a request stands at its end; nothing is open then."""
        until(lambda: self.status(request)["status"] in ENDED, within=within)
        found = self.status(request)
        assert found["counts"]["waiting"] == found["counts"]["processing"] == 0
        assert sum(found["failuresByCode"].values()) == found["counts"]["failed"]
        return found

    def items(self, request: str) -> dict[str, dict[str, Value]]:
        """The pictures of a request, by their ids."""
        found: dict[str, dict[str, Value]] = {}
        after: str | None = ""
        while after is not None:
            page = self.client.get(f"/requests/{request}/items", params={"after": after}).json()
            found |= {item["sourceImageId"]: item for item in page["items"]}
            after = page["next"]
        return found

    def results(self, request: str) -> dict[str, dict[str, Value]]:
        """What the callback of a request says of its pictures, by their ids."""
        found: dict[str, dict[str, Value]] = {}
        after: str | None = ""
        while after is not None:
            page = self.client.get(f"/requests/{request}/results", params={"after": after}).json()
            found |= {image["sourceImageId"]: image for image in page["data"]}
            after = page["next"]
        return found

    def callbacks(self, request: str, *, count: int = 1) -> list[dict[str, Value]]:
        """The callbacks of a request that were accepted, once there are so many."""

        def come() -> list[dict[str, Value]]:
            documents: list[dict[str, Value]] = [one.document for one in self.listener.accepted]
            return [one for one in documents if one["pipelineRequestId"] == request]

        until(lambda: len(come()) >= count)
        return come()


@contextmanager
def door_over(
    folder: Path,
    pictures: PictureServer,
    listener: CallbackListener,
    *,
    clock: Clock | None = None,
    own_workers: bool = True,
    **settings: object,
) -> Iterator[Door]:
    """The project in *folder*, served with the antenna's routes until the block ends."""
    options = {"allow_hosts": ["127.0.0.1"], "facades": ["antenna"], "parallel": 1, **settings}
    project = load_project(folder, environment={}, options=options)
    with LocalServer(project, clock=clock, own_workers=own_workers) as server:
        yield Door(server, pictures, listener)


def served_as_files(frames: Sequence[TrapFrame]) -> dict[str, bytes]:
    """Frames under their names."""
    return {frame.name: frame.jpeg() for frame in frames}
