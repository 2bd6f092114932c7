"""A project as `limner init --from antenna` makes it, at work in this process beside a picture server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from limner.app.hosting import Host
from limner.app.job_items import ResultLine, results_of
from limner.app.origins import Why
from limner.app.starting import start_project
from limner.app.submitting import Submission
from limner.domain.jobs import Counts, Job
from limner.domain.values import Value
from limner.store.progress import START, Place
from limner.systems.antenna import system
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.systems.antenna.wire import SourceImage, StageAsk
from limner.systems.antenna.wire_images import capture_of
from limner.systems.antenna.wire_stages import choices_of, steps_of
from limner.testing.local_server import LocalServer
from tests.waiting import LONG, until

PROJECT = "traps"
#: Steps by their short names, as clients write them.
DETECT = ("OBJECT_DETECTION", "blobs")
CLASSIFY = ("CLASSIFICATION", "size-shape")
CROP = ("IMAGE_CROP", "crop")
FEATURES = ("CNN_FEATURE_CLASSIFIER", "colour-histogram")
TRACK = ("TRACKING", "tracker")


def new_project(folder: Path) -> Path:
    """A project from the system's template."""
    start_project(folder, system=system)
    return folder


def edit(file: Path, old: str, new: str) -> None:
    """Replace *old* by *new* in a file, where it must stand once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class Trap:
    """A server over such a project, and what tests ask of it."""

    server: LocalServer

    @property
    def host(self) -> Host:
        """The project at work."""
        return self.server.host

    def submit(self, images: Sequence[Mapping[str, Value]], stages: Sequence[tuple[str, str]], **more: Value) -> Job:
        """A job for *images* as clients write them, without its callback."""
        pipeline = self.host.pipeline("antenna")
        given = any("detections" in image for image in images)
        asks = [StageAsk.model_validate({"stage": stage, "stageImplementation": way}) for stage, way in stages]
        steps = steps_of(asks, pipeline, aliases={}, boxes_given=all("detections" in image for image in images))
        rows = [
            capture_of(SourceImage.model_validate(image), project=PROJECT, index=at) for at, image in enumerate(images)
        ]
        return self.host.submit(
            Submission(pipeline="antenna", rows=rows, choices=choices_of(steps, pipeline, given=given), **more)
        )

    def run(self, images: Sequence[Mapping[str, Value]], stages: Sequence[tuple[str, str]], **more: Value) -> Job:
        """The same, at its end."""
        return self.wait(self.submit(images, stages, **more))

    def wait(self, job: Job, *, within: timedelta = LONG) -> Job:
        """A job at its end; whatever happened, its counts add up."""
        until(lambda: self.job(job).state.ended, within=within)
        counts = self.counts(job)
        assert counts.open == 0
        assert counts.records == counts.done + counts.failed + counts.skipped + counts.cancelled
        return self.job(job)

    def job(self, job: Job) -> Job:
        """A job as it stands."""
        with self.host.store.reading() as tx:
            return tx.jobs.get(job.id)

    def counts(self, job: Job) -> Counts:
        """What became of its records."""
        with self.host.store.reading() as tx:
            return tx.ledger.counts(job.id)

    def results(self, job: Job) -> list[ResultLine]:
        """Every record of a job and of what was found on it, with what the job's own steps say."""
        found: list[ResultLine] = []
        place: Place | None = START
        with self.host.store.reading() as tx:
            view = self.host.engine.view(tx, job.pipeline, {name: list(ways) for name, ways in job.choices.items()})
            while place is not None:
                lines, place = results_of(tx, view, job.id, after=place, limit=1000)
                found += lines
        return found

    def detections(self, job: Job, source: str) -> list[ResultLine]:
        """What was found on one picture."""
        parent = ("captures", f"{PROJECT}:{source}")
        return [line for line in self.results(job) if line.parent == parent]

    def failures(self, job: Job) -> dict[str, str]:
        """By record its failure's code."""
        return {row.id: row.code for row in self.host.app.failures(job.id)}

    def why(self, collection: str, identity: str, *, stage: str | None = None) -> Why:
        """Where values came from."""
        return self.host.app.why(collection, identity, stage=stage)


def images_of(
    frames: Sequence[TrapFrame], *, url: Callable[[str], str], event: str = "night"
) -> list[dict[str, Value]]:
    """The frames of a night as a request has them, on a server that serves them under their names."""
    return [{"id": frame.name, "url": url(frame.name), "eventId": event} for frame in frames]
