"""The routes of existing workers: an unmodified one registers, takes pictures and hands results in."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from limner.domain.jobs import Job
from limner.domain.values import Value
from limner.settings import load_project
from limner.systems.antenna.pull_v2_wire import Lease, lease_of, number_of, subject_of
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.pull_v2.worker import Answer, ExistingWorker, answered, pipeline_of
from tests.systems.antenna.trap import Trap, images_of, new_project
from tests.waiting import until

#: A server with all inferrers of the pipeline takes seconds to start.
pytestmark = pytest.mark.slow
Existing = Callable[..., ExistingWorker]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    """A server with these routes; each test has a pipeline of its own, so that none finds results of another."""
    folder = new_project(tmp_path_factory.mktemp("pull") / "trap")
    settings = {"allow_hosts": ["127.0.0.1"], "facades": ["antenna-v2"], "parallel": 1}
    with LocalServer(load_project(folder, environment={}, options=settings)) as server:
        yield Trap(server)


@pytest.fixture
def existing(request: pytest.FixtureRequest) -> Iterator[Existing]:
    """Call with a server, and perhaps with how pictures are answered, to have an existing worker."""
    with ExitStack() as stack:

        def start(served: Trap, answer: Answer = answered) -> ExistingWorker:
            slug = re.sub("[^a-z]", "", request.node.name)
            worker = ExistingWorker(served.server.url, slug=slug, answer=answer)
            stack.callback(worker.client.close)
            return worker

        yield start


def by(worker: ExistingWorker) -> tuple[str, str]:
    """The step that *worker* does."""
    return ("OBJECT_DETECTION", worker.slug)


def ask(served: Trap, worker: ExistingWorker, pictures: PictureServer, frames: Sequence[TrapFrame]) -> Job:
    """A job over *frames* for *worker*, which has registered for it."""
    worker.register()
    return served.submit(images_of(frames, url=pictures.url), [by(worker)])


def work_until_done(worker: ExistingWorker, served: Trap, job: Job) -> None:
    """Have a worker poll until the job has ended."""

    def ended() -> bool:
        worker.work()
        return served.job(job).state.ended

    until(ended)


def test_existing_worker_serves(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Its boxes become detections, and its labels their classifications, each with the algorithm that said so."""
    # given
    worker = existing(served)
    registered = worker.register()
    job = served.submit(images_of(small_night, url=pictures.url), [by(worker)])

    # when
    work_until_done(worker, served, job)

    # then
    assert registered.status_code == 201
    assert served.wait(job).state == "done"
    found = served.detections(job, small_night[0].name)
    assert len(found) >= 3
    for line in found:
        (made,) = line.fields["classifications"]
        assert line.fields["origin"] == "blob-detector"
        assert made["labels"][0] == {"id": "1", "name": "Not a moth", "score": 0.7}


def test_registration_is_told_field_for_field(served: Trap, existing: Existing) -> None:
    """A registration is answered with what was created; once more, with nothing new."""
    # given
    worker = existing(served)

    # when
    first, again = worker.register().json(), worker.register().json()

    # then
    fields = {"timestamp", "success", "error", "pipelines", "pipelines_created", "algorithms_created"}
    assert set(first) == fields
    assert (first["success"], first["error"], first["pipelines"]) == (True, None, [pipeline_of(worker.slug)])
    assert first["pipelines_created"] == [worker.slug]
    assert first["algorithms_created"] == ["blob-detector", "stub-classifier"]
    assert (again["pipelines_created"], again["algorithms_created"]) == ([], [])


def test_jobs_are_whole_numbers(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Only jobs that chose one of the pipelines are listed, by a number, for these workers expect one."""
    # given
    worker = existing(served)
    job = ask(served, worker, pictures, small_night[:1])

    # then
    assert worker.jobs() == [{"id": number_of(job.id), "pipeline_slug": worker.slug}]
    assert worker.jobs("other") == []
    assert worker.client.get("/jobs", params={"pipeline__slug": worker.slug, "dispatch_mode": "sync_api"}).json() == {
        "results": []
    }


def test_failure_without_image_id(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """An error that names no picture is matched by its lease: that picture fails, and the others are done."""
    # given
    bad = small_night[1].name

    def answer(task: dict[str, Value]) -> dict[str, Value]:
        return {"error": "no GPU left", "image_id": None} if task["image_id"] == bad else answered(task)

    worker = existing(served, answer)
    job = ask(served, worker, pictures, small_night)

    # when
    work_until_done(worker, served, job)

    # then
    assert served.wait(job).state == "done_with_failures"
    assert (served.counts(job).done, served.counts(job).failed) == (2, 1)
    assert served.failures(job) == {f"traps:{bad}": "MODEL_ERROR"}


def test_undeclared_algorithm_is_refused_once(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """What an algorithm says that was not registered fails its picture as OUTPUT_INVALID, and is not asked again."""

    # given
    def answer(task: dict[str, Value]) -> dict[str, Value]:
        said = answered(task)
        for detection in said["detections"]:
            detection["algorithm"] = {"name": "?", "key": "surprise"}
        return said

    worker = existing(served, answer)
    job = ask(served, worker, pictures, small_night[:1])

    # when
    work_until_done(worker, served, job)

    # then
    assert served.failures(job) == {f"traps:{small_night[0].name}": "OUTPUT_INVALID"}
    assert len(worker.taken) == 1
    (told,) = worker.told[0]["tasks"]
    assert told["status"] == "refused"
    assert "'surprise'" in told["problem"]


def test_answer_is_told_field_for_field(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Tasks and the answer to results have the fields that these workers read."""
    # given
    worker = existing(served)
    job = ask(served, worker, pictures, small_night[:1])

    # when
    work_until_done(worker, served, job)

    # then
    (task,) = worker.taken
    assert set(task) == {"id", "image_id", "image_url", "reply_subject"}
    assert (task["image_id"], task["image_url"]) == (small_night[0].name, pictures.url(small_night[0].name))
    (told,) = worker.told
    assert told == {
        "status": "accepted",
        "job_id": number_of(job.id),
        "results_queued": 1,
        "tasks": [{"reply_subject": task["reply_subject"], "status": "queued", "task_id": task["id"]}],
    }


def test_second_answer_changes_nothing(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """A result that is posted twice, as after a lost answer, is taken once."""
    # given
    worker = existing(served)
    job = ask(served, worker, pictures, small_night[:1])
    work_until_done(worker, served, job)
    before = served.results(served.job(job))

    # when
    (task,) = worker.taken
    told = worker.post(number_of(job.id), [{"reply_subject": task["reply_subject"], "result": answered(task)}])

    # then
    assert told["tasks"][0]["status"] == "queued"
    assert served.results(served.job(job)) == before


def test_forged_subject_is_refused(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """A reply subject that was not handed out, or was changed on the way, commits nothing."""
    # given
    worker = existing(served)
    job = ask(served, worker, pictures, small_night[:1])
    until(lambda: worker.take(number_of(job.id)))
    (task,) = worker.taken
    right = lease_of(task["reply_subject"])
    assert right is not None
    forged = Lease(right.worker, right.task, right.key, "1.AAAA", right.image, right.slug)

    # when
    told = worker.post(
        number_of(job.id),
        [{"reply_subject": text, "result": answered(task)} for text in ("nonsense", subject_of(forged))],
    )

    # then
    assert [one["status"] for one in told["tasks"]] == ["refused", "refused"]
    assert not served.job(job).state.ended


def test_pictures_stay_with_a_silent_worker(
    trap: Callable[..., Trap], existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """These workers send no heartbeats while they infer; what they hold is not given to another after a lease."""
    # given
    served = trap(facades=["antenna-v2"], lease=1.0)
    worker = existing(served)
    job = ask(served, worker, pictures, small_night[:1])
    until(lambda: worker.take(number_of(job.id)))
    began = served.host.clock.now()

    # when
    until(lambda: served.host.clock.now() > began + 2.5)

    # then
    assert worker.take(number_of(job.id)) == []
    (task,) = worker.taken
    worker.post(number_of(job.id), [{"reply_subject": task["reply_subject"], "result": answered(task)}])
    assert served.wait(job).state == "done"


def test_new_weights_are_a_new_version(
    served: Trap, existing: Existing, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """The same slug registered with another algorithm version infers again, and the old values keep their version."""
    # given
    worker = existing(served)
    worker.register()
    images = images_of(small_night[:1], url=pictures.url)
    work_until_done(worker, served, served.submit(images, [by(worker)]))
    newer = pipeline_of(worker.slug, version=2)

    # when
    worker.register({"processing_service_name": "fixture worker (host-a)", "pipelines": [newer]})
    job = served.submit(images, [by(worker)])
    work_until_done(worker, served, job)

    # then
    assert len(worker.taken) == 2
    (line, *_) = served.detections(job, small_night[0].name)
    assert line.fields["classifications"][0]["version"] == "v2"


def test_invalid_requests_are_told(served: Trap, existing: Existing) -> None:
    """What does not fit is 4xx and names the field; an unknown job is 404."""
    # given
    worker = existing(served)
    worker.register()

    # then
    assert worker.client.post("/jobs/1/tasks/", json={"batch_size": 0}).status_code == 422
    assert worker.client.post("/jobs/1/tasks/", json={"batch_size": 1}).status_code == 404
    assert worker.client.post("/projects/1/pipelines/", json={"pipelines": []}).status_code == 422
    wrong = worker.register({"processing_service_name": "x", "pipelines": [{"name": "no slug"}]})
    assert wrong.status_code == 422
    assert "slug" in wrong.json()["detail"]


def test_unasked_routes_are_not_there(trap: Callable[..., Trap], existing: Existing) -> None:
    """Without the setting, nothing answers at these addresses."""
    # given
    served = trap()

    # then
    assert existing(served).register().status_code == 404
