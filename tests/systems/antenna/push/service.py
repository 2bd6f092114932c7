"""A synchronous model service on loopback, as research teams run them: it fetches pictures and answers at once."""

import io
import json
import threading
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from PIL import Image

from limner.addresses import AddressGuard
from limner.domain.values import Value
from limner.systems.antenna.blobs import Blobs
from limner.systems.antenna.size_shape import SizeShape
from tests.listening import Listening

SLUG = "moths"
DETECTOR = {"key": "blob-detector", "name": "Blob detector"}
CLASSIFIER = {"key": "shape-classifier", "name": "Shape classifier"}
LABELS = ["large", "medium", "small", "debris"]

INFO: dict[str, Value] = {
    "name": "A service",
    "description": "Blobs and shapes.",
    "pipelines": [
        {
            "name": "Moths",
            "slug": SLUG,
            "version": 3,
            "description": None,
            "algorithms": [
                {**DETECTOR, "task_type": "detection", "version": 1, "version_name": "v1", "uri": None},
                {
                    **CLASSIFIER,
                    "task_type": "classification",
                    "version": 2,
                    "version_name": "2024-05",
                    "uri": None,
                    "category_map": {
                        "data": [{"index": at, "label": one} for at, one in enumerate(LABELS)],
                        "labels": LABELS,
                        "version": "v1",
                        "description": None,
                        "uri": None,
                    },
                },
            ],
            "stages": [{"key": "object_detection", "name": "Object detection", "params": [], "description": None}],
        }
    ],
    "algorithms": [],
}

#: Turns a right answer into the one that is sent, or into a status and a text.
Spoil = Callable[[dict[str, Value]], "dict[str, Value] | tuple[int, str]"]


class Waiting:
    """A clock that passes when it is waited by; what it says can be looked at from other threads."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        """Seconds that were waited."""
        return self.passed

    def wait(self, seconds: float) -> None:
        """Pass at once."""
        self.passed += seconds


class ModelService(Listening):
    """Finds blobs and sorts them by shape; entered, it serves until the block ends."""

    def __init__(self, *, cold_until: Callable[[], bool] = lambda: False) -> None:
        """*cold_until*: whether it still loads its weights."""
        self.cold = cold_until
        self.info = dict(INFO)
        #: Bodies of the calls of ``/process``, in order.
        self.asked: list[dict[str, Value]] = []
        self.headers: list[Mapping[str, str]] = []
        #: Questions by path.
        self.paths: list[str] = []
        self.spoil: Spoil = lambda answer: answer
        self._lock = threading.Lock()
        super().__init__(_Server(self))

    def client(self, *, timeout: float = 30.0) -> httpx.Client:
        """What a worker that may reach it gives its inferrers."""
        return AddressGuard(allow_hosts=[self.host]).client(total=timedelta(seconds=timeout))

    def get(self, path: str) -> tuple[int, Value]:
        """Status and body of a question."""
        self.paths.append(path)
        if path == "/info":
            return 200, self.info
        if path == "/livez":
            return 200, {"status": True}
        if path == "/readyz":
            return (503, {"detail": "loading"}) if self.cold() else (200, {"status": [SLUG]})
        return 404, {}

    def process(self, body: dict[str, Value], headers: Mapping[str, str]) -> tuple[int, Value]:
        """Status and body of the answer to ``/process``."""
        with self._lock:
            self.asked.append(body)
            self.headers.append(headers)
        if self.cold():
            return 503, {"detail": "loading"}
        given = body["detections"]
        spoilt = self.spoil(self._classified(body, given) if given is not None else self._detected(body))
        return (200, spoilt) if isinstance(spoilt, dict) else (spoilt[0], {"detail": spoilt[1]})

    def _detected(self, body: dict[str, Value]) -> dict[str, Value]:
        detections = []
        for one in body["source_images"]:
            image = _fetched(one["url"])
            (found,) = Blobs().infer([image])
            assert not isinstance(found, Exception)
            detections += [_detection(one["id"], image, child["box"]) for child in found]
            if not found:
                # Processed, and nothing is on it.
                detections.append({**_detection(one["id"], image, None), "classifications": []})
        return self._answer(body, detections)

    def _classified(self, body: dict[str, Value], given: Value) -> dict[str, Value]:
        detections = []
        for one in given:
            image = _fetched(one["source_image"]["url"])
            box = [one["bbox"][edge] for edge in ("x1", "y1", "x2", "y2")]
            detections.append(_detection(one["source_image"]["id"], image, [int(edge) for edge in box]))
        return self._answer(body, detections)

    def _answer(self, body: dict[str, Value], detections: list[Value]) -> dict[str, Value]:
        return {
            "pipeline": body["pipeline"],
            "algorithms": {},
            "total_time": 0.5,
            "source_images": body["source_images"],
            "detections": detections,
            "errors": None,
        }


def _fetched(url: str) -> Image.Image:
    with urllib.request.urlopen(url) as answer:
        return Image.open(io.BytesIO(answer.read())).convert("RGB")


def _detection(image_id: str, image: Image.Image, box: Value) -> dict[str, Value]:
    classifications = []
    if box is not None:
        (sorted_,) = SizeShape().infer([image], [box])
        assert isinstance(sorted_, dict)
        scores = {label["name"]: label["score"] for label in sorted_["labels"]}  # type: ignore[attr-defined]  # a list of labels
        classifications = [
            {
                "classification": max(scores, key=lambda name: scores[name]),
                "labels": None,
                "scores": [scores[name] for name in LABELS],
                "logits": None,
                "inference_time": 0.01,
                "algorithm": CLASSIFIER,
                "terminal": True,
                "timestamp": "2024-08-20T00:00:00",
            }
        ]
    return {
        "source_image_id": image_id,
        "bbox": None if box is None else dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)),
        "inference_time": 0.1,
        "algorithm": DETECTOR,
        "timestamp": "2024-08-20T00:00:00",
        "crop_image_url": None,
        "classifications": classifications,
    }


class _Server(ThreadingHTTPServer):
    def __init__(self, service: ModelService) -> None:
        self.service = service
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._send(*self.server.service.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(*self.server.service.process(body, headers))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _send(self, status: int, body: Value) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
