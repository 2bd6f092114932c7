"""A53: an existing worker's own bodies are understood, and what it is answered has the fields that it knows."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from limner.domain.values import Value
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.pull_v2.worker import ExistingWorker, answered
from tests.systems.antenna.trap import Trap
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def test_fixtures_of_existing_workers(trap: Callable[..., Trap], shared_data: Path) -> None:
    """Registration and question for tasks as they are recorded; the tasks field for field; the job completes."""
    # given
    folder = shared_data / "antenna"
    registration, asked, recorded = (
        json.loads((folder / "requests" / name).read_text(encoding="utf-8"))
        for name in (
            "10_worker_register_pipelines.request.json",
            "11_worker_tasks.request.json",
            "12_worker_tasks.response.json",
        )
    )
    slug = registration["pipelines"][0]["slug"]

    def answer(task: dict[str, Value]) -> dict[str, Value]:
        # The worker calls its pipeline as it registered it.
        return {**answered(task), "pipeline": slug}

    served = trap(facades=["antenna-v2"])
    worker = ExistingWorker(served.server.url, slug=slug, answer=answer)
    with PictureServer(folder / "images") as server, closing(worker.client) as client:
        registered = worker.register(registration)
        names = ("vermont/20220622000459-108-snapshot.jpg", "bad/truncated-30pct.jpg")
        images = [{"id": str(101 + at), "url": server.url(name)} for at, name in enumerate(names)]
        job = served.submit(images, [("OBJECT_DETECTION", slug)])

        # when
        tasks: list[dict[str, Value]] = []

        def taken() -> bool:
            (waiting,) = worker.jobs()
            tasks.extend(client.post(f"/jobs/{waiting['id']}/tasks/", json=asked).json()["tasks"])
            return len(tasks) == len(images)

        until(taken)
        number = worker.jobs()[0]["id"]
        told = worker.post(number, [{"reply_subject": t["reply_subject"], "result": answer(t)} for t in tasks])

        # then
        assert registered.status_code == 201
        assert registered.json()["pipelines_created"] == [slug]
        assert [set(task) for task in tasks] == [set(task) for task in recorded["tasks"]]
        assert [task["image_id"] for task in tasks] == [task["image_id"] for task in recorded["tasks"]]
        assert all(type(task[name]) is type(recorded["tasks"][0][name]) for task in tasks for name in task)
        assert set(told) == {"status", "job_id", "results_queued", "tasks"}
        assert (told["status"], told["results_queued"]) == ("accepted", 2)
        assert served.wait(job).state == "done_with_failures"
        assert served.detections(job, "101")
        assert served.failures(job)["traps:102"] == "MODEL_ERROR"
