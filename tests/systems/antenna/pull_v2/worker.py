"""An existing worker of the older controller, as it speaks: registers, polls, infers one picture at a time, posts."""

import io
import urllib.request
from collections.abc import Callable

import httpx
from PIL import Image

from limner.domain.values import Value
from limner.systems.antenna.blobs import Blobs

DETECTOR = {"name": "Blob detector", "key": "blob-detector"}
CLASSIFIER = {"name": "Stub classifier", "key": "stub-classifier"}
CLIENT = {"hostname": "host-a", "software": "fixture-worker", "version": "0.1"}
Answer = Callable[[dict[str, Value]], dict[str, Value]]


def pipeline_of(slug: str, *, version: int = 1) -> dict[str, Value]:
    """What a worker registers."""
    return {
        "name": "Fixture moths",
        "slug": slug,
        "version": 1,
        "description": "stub",
        "algorithms": [
            {
                **DETECTOR,
                "task_type": "detection",
                "version": version,
                "version_name": f"v{version}",
                "uri": None,
                "category_map": None,
            },
            {
                **CLASSIFIER,
                "task_type": "classification",
                "version": version,
                "version_name": f"v{version}",
                "uri": None,
                "category_map": {
                    "data": [{"index": 0, "label": "Moth"}, {"index": 1, "label": "Not a moth"}],
                    "labels": ["Moth", "Not a moth"],
                    "version": "v1",
                    "description": "stub",
                    "uri": None,
                },
            },
        ],
        "stages": [{"key": "object_detection", "name": "Object detection", "params": [], "description": None}],
    }


class ExistingWorker:
    """Speaks to ``/api/v2`` and to nothing else."""

    def __init__(self, url: str, *, slug: str, token: str = "", answer: Answer | None = None) -> None:
        headers = {"Authorization": f"Token {token}"} if token else {}
        self.client = httpx.Client(base_url=f"{url}/api/v2", headers=headers, timeout=30)
        self.slug = slug
        self.answer = answer or answered
        #: Bodies of what was taken, and of what was said to results.
        self.taken: list[dict[str, Value]] = []
        self.told: list[dict[str, Value]] = []

    def register(self, body: dict[str, Value] | None = None) -> httpx.Response:
        """Name the pipelines."""
        named = {"processing_service_name": "fixture worker (host-a)", "pipelines": [pipeline_of(self.slug)]}
        return self.client.post("/projects/1/pipelines/", json=body or named)

    def jobs(self, slug: str | None = None) -> list[dict[str, Value]]:
        """Jobs that wait for a pipeline."""
        asked = {
            "pipeline__slug__in": slug or self.slug,
            "ids_only": "1",
            "incomplete_only": "1",
            "dispatch_mode": "async_api",
        }
        answer = self.client.get("/jobs", params=asked)
        answer.raise_for_status()
        listed: list[dict[str, Value]] = answer.json()["results"]
        return listed

    def take(self, job: int, *, batch_size: int = 4) -> list[dict[str, Value]]:
        """Pictures of a job."""
        answer = self.client.post(f"/jobs/{job}/tasks/", json={"batch_size": batch_size, "client_info": CLIENT})
        answer.raise_for_status()
        self.taken += answer.json()["tasks"]
        taken: list[dict[str, Value]] = answer.json()["tasks"]
        return taken

    def post(self, job: int, results: list[dict[str, Value]]) -> dict[str, Value]:
        """Hand results in."""
        answer = self.client.post(f"/jobs/{job}/result/", json={"results": results, "client_info": CLIENT})
        answer.raise_for_status()
        told: dict[str, Value] = answer.json()
        self.told.append(told)
        return told

    def work(self, *, batch_size: int = 4) -> int:
        """Look once for jobs and do what is there; how many pictures that was."""
        done = 0
        for job in self.jobs():
            tasks = self.take(job["id"], batch_size=batch_size)
            if tasks:
                results = [{"reply_subject": one["reply_subject"], "result": self.answer(one)} for one in tasks]
                self.post(job["id"], results)
                done += len(tasks)
        return done


def answered(task: dict[str, Value]) -> dict[str, Value]:
    """What a worker says of one picture, which it fetches itself."""
    try:
        with urllib.request.urlopen(task["image_url"]) as found:
            image = Image.open(io.BytesIO(found.read())).convert("RGB")
    except OSError as error:
        return {"error": f"cannot be read: {error}", "image_id": None}
    (children,) = Blobs().infer([image])
    assert not isinstance(children, Exception)
    return {
        "pipeline": "moths",
        "algorithms": {},
        "total_time": 0.2,
        "source_images": [{"id": task["image_id"], "url": task["image_url"]}],
        "detections": [_detection(task["image_id"], child["box"]) for child in children],
        "errors": None,
    }


def _detection(image: str, box: Value) -> dict[str, Value]:
    return {
        "source_image_id": image,
        "bbox": dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)),
        "inference_time": None,
        "algorithm": DETECTOR,
        "timestamp": "2024-08-20T00:00:00",
        "crop_image_url": None,
        "classifications": [
            {
                "classification": "Not a moth",
                "labels": None,
                "scores": [0.3, 0.7],
                "logits": [0.1, 0.2],
                "inference_time": None,
                "algorithm": CLASSIFIER,
                "terminal": True,
                "timestamp": "2024-08-20T00:00:00",
            }
        ],
    }
