"""The callback of the antenna: pictures with their detections, as the web application takes them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from limner.app.callback_body import Hosting
from limner.app.secrets import ServerKey
from limner.domain.jobs import Job
from limner.domain.values import Value, plain
from limner.store.store import Transaction
from limner.systems.antenna.callback_images import Pictures, Telling
from limner.systems.antenna.facade_settings import antenna_settings
from limner.systems.antenna.status_words import counts_of, has_begun, span_of, status_of

if TYPE_CHECKING:
    from limner.engine.views import View

#: The key of a job's detail under which the facade keeps what it needs again.
DETAIL = "antenna"


def body(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """The callback for the pictures *keys* of a request; also what its result pages hold."""
    with host.store.reading() as tx:
        view = host.app.engine(job.pipeline).view(tx, job.pipeline, {k: list(v) for k, v in job.choices.items()})
        return body_in(tx, host, view, job, keys)


def body_in(tx: Transaction, host: Hosting, view: "View", job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """The callback for some pictures, as it is at the moment of a transaction."""
    settings = antenna_settings(host.app.settings)
    detail = told_with(job)
    found: dict[str, Value] = {
        "jobId": detail.get("job_id", job.id),
        "pipelineRequestId": job.id,
        "data": [],
    }
    if not settings.strict:
        counts = tx.ledger.counts(job.id)
        begun = has_begun(counts, in_hand=span_of(tx, view, job).begun)
        found["status"] = status_of(job, begun=begun)
        found["requestCounts"] = counts_of(job, counts, waiting=0 if begun else counts.open)
        # The outbox fills it in.
        found["page"] = None
    pictures = Pictures(tx, view, job, keys, telling=telling(host, job))
    found["data"] = [pictures.image(key) for key in keys]
    return found


def telling(host: Hosting, job: Job) -> Telling:
    """How the pictures of a request are told."""
    settings = antenna_settings(host.app.settings)
    key = ServerKey.of(host.app.project, clock=host.clock)
    base_url = host.app.settings.public_url or str(told_with(job).get("base_url", ""))

    def link(sha256: str) -> str:
        return key.link(sha256, project=host.name, base_url=base_url, lifetime=settings.lifetime)

    return Telling(top_k=settings.top_k, strict=settings.strict, link=link)


def told_with(job: Job) -> Mapping[str, Value]:
    """What a client told with its request; nothing where the job was made by another door."""
    found: Mapping[str, Value] = job.detail.get(DETAIL, {})
    return found


def split(whole: dict[str, Value], max_bytes: int) -> list[dict[str, Value]]:
    """
    *whole* in several bodies, for one picture that alone is too large.

    Its detections are spread over them; all else of the picture stands in each.
    """
    frame = {**whole, "data": []}
    bodies: list[dict[str, Value]] = []
    for image in whole["data"]:
        bare = {**image, "detections": []}
        room = max_bytes - len(_encoded({**frame, "data": [bare]}))
        bodies += [{**whole, "data": [{**bare, "detections": run}]} for run in _runs(image["detections"], room=room)]
    return bodies or [whole]


def _runs(detections: Sequence[dict[str, Value]], *, room: int) -> Iterator[list[dict[str, Value]]]:
    """As many detections together as there is room for; one that is larger alone stands alone."""
    run: list[dict[str, Value]] = []
    size = 0
    for one in detections:
        grown = len(_encoded(one)) + 1
        if run and size + grown > room:
            yield run
            run, size = [], 0
        run.append(one)
        size += grown
    yield run


def _encoded(value: Value) -> bytes:
    return msgspec.json.encode(plain(value))
