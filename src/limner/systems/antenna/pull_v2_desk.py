"""Behind the routes of existing workers: their pipelines become implementations, their results children."""

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from limner.app.hosting import Host
from limner.app.work_desk import WorkDesk
from limner.app.work_said import TaskReceipt
from limner.app.work_wire import AnswerIn, FailureIn, Named, ResultIn, TakeAsk, TaskOut
from limner.domain.jobs import Job
from limner.domain.tasks import Heartbeat
from limner.domain.values import Value
from limner.domain.workers import Hello, Served, ServedVersion, Told
from limner.errors import ArtifactMissing, NotFound
from limner.systems.antenna.process_answers import children_of
from limner.systems.antenna.process_wire import (
    Algorithm,
    NotUnderstood,
    ProcessAnswer,
    ServiceInfo,
    ServicePipeline,
    converted,
    declared_algorithms,
)
from limner.systems.antenna.pull_v2_wire import (
    ClientInfo,
    JobOut,
    Lease,
    PictureOut,
    RegisterAsk,
    ResultOut,
    ResultV2,
    fingerprint,
    lease_of,
    number_of,
    subject_of,
)
from limner.systems.antenna.wire_images import source_of

PIPELINE, STAGE = "antenna", "detect"
#: How workers that speak this protocol are told from others in the list of workers.
SOFTWARE = "antenna-v2"
#: These workers are silent while they infer: so long their pictures are theirs.
_THEIRS = timedelta(minutes=10)
_ADDRESS = f"{PIPELINE}.{STAGE}"
#: The declared environment of a registered pipeline: the artifact that holds it as it was registered.
_REGISTERED = "registered"


class PullDesk:
    """Serves the existing workers of one project; shared by threads."""

    def __init__(self, host: Host, desk: WorkDesk) -> None:
        self._host = host
        self._desk = desk
        self._lock = threading.Lock()
        #: By task: who has it, and until when its lease is moved for them.
        self._out: dict[int, tuple[str, float]] = {}
        self._moved = 0.0
        self._known: dict[str, dict[str, Algorithm]] = {}
        host.followers.append(self.keep)

    def register(
        self, ask: RegisterAsk, *, scopes: frozenset[str], token_id: str | None, ip: str
    ) -> tuple[list[Told], list[str], list[str]]:
        """
        Take a worker's pipelines in as implementations of the detector.

        What it may not serve and why, the slugs that are new, and the keys of their algorithms.

        Raises:
            NotUnderstood: a pipeline is not of the agreed form.
        """
        before = set(self._host.pipeline(PIPELINE).stage(STAGE).implementations)
        serves, created, algorithms = [], [], []
        for raw in ask.pipelines:
            pipeline = converted(raw, type=ServicePipeline, of="A pipeline")
            sha256 = self._host.app.artifacts.put(fingerprint(raw))
            version = ServedVersion(code=f"v2:{pipeline.version}", environment={_REGISTERED: sha256})
            serves.append(Served(stage=_ADDRESS, implementation=pipeline.slug, version=version))
            if pipeline.slug not in before:
                created.append(pipeline.slug)
                algorithms += [one.key for one in pipeline.algorithms]
        hello = Hello(
            worker_id=_worker_id(ask.processing_service_name),
            hostname=ask.client_info.hostname,
            software=SOFTWARE,
            version=ask.client_info.version,
            serves=serves,
            ip=ip,
        )
        told = self._desk.hello(hello, scopes=scopes, token_id=token_id).told
        refused = {one.implementation for one in told}
        return told, [slug for slug in created if slug not in refused], list(dict.fromkeys(algorithms))

    def jobs(self, slugs: Sequence[str]) -> list[JobOut]:
        """Jobs that have not ended and were to be done by one of the pipelines *slugs*, the most urgent first."""
        return [
            JobOut(id=number_of(job.id), pipeline_slug=slug)
            for job in self._open()
            for slug in _detectors(job)
            if slug in slugs
        ]

    def take(self, number: int, *, most: int, client: ClientInfo, scopes: frozenset[str]) -> list[PictureOut]:
        """
        Up to *most* pictures that a pipeline of the job is to look at; other jobs' too, for what they want is the same.

        Raises:
            NotFound: there is no such job, or nobody registered a pipeline of it.
        """
        job = self._job(number)
        if job is None:
            return []
        found: list[PictureOut] = []
        for slug in _detectors(job):
            worker = self._worker(slug, client)
            if worker is None or len(found) >= most:
                continue
            found += self._taken(worker, slug, most=most - len(found), scopes=scopes)
        return found

    def settle(self, results: Sequence[ResultV2]) -> list[ResultOut]:
        """Commit what workers say of pictures; each is matched by its reply subject alone."""
        leases = [lease_of(one.reply_subject) for one in results]
        answers: dict[str, dict[tuple[int, str], list[ResultIn]]] = {}
        problems: dict[int, str] = {}
        for at, (lease, one) in enumerate(zip(leases, results, strict=True)):
            if lease is None:
                problems[at] = "The reply subject is none that was handed out here."
                continue
            said = self._result(lease, one.result)
            if said.failure is not None and said.failure.code == "OUTPUT_INVALID":
                problems[at] = said.failure.message
            answers.setdefault(lease.worker, {}).setdefault((lease.task, lease.token), []).append(said)
        for worker, by_task in answers.items():
            asked = [AnswerIn(task_id=task, token=token, results=said) for (task, token), said in by_task.items()]
            receipts = {receipt.task_id: receipt for receipt in self._desk.complete(worker, asked)}
            self._forget(receipts)
            for at, lease in enumerate(leases):
                if lease is not None and lease.worker == worker and lease.task in receipts:
                    problem = _problem(receipts[lease.task], alone=len(by_task[(lease.task, lease.token)]) == 1)
                    if problem:
                        problems.setdefault(at, problem)
        return [
            ResultOut(
                reply_subject=one.reply_subject,
                status="refused" if at in problems else "queued",
                task_id=None if lease is None else lease.key.partition("-")[0],
                problem=problems.get(at, ""),
            )
            for at, (lease, one) in enumerate(zip(leases, results, strict=True))
        ]

    def keep(self) -> None:
        """Move the leases of what is out: these workers send no heartbeats."""
        now, lease = self._host.clock.now(), self._host.app.settings.lease
        with self._lock:
            if now - self._moved < lease / 3:
                return
            self._moved = now
            self._out = {task: held for task, held in self._out.items() if held[1] > now}
            by_worker: dict[str, list[int]] = {}
            for task, (worker, _) in self._out.items():
                by_worker.setdefault(worker, []).append(task)
        if by_worker:
            self._host.commit([Heartbeat(worker=worker, tasks=tasks) for worker, tasks in by_worker.items()])

    def _open(self) -> list[Job]:
        with self._host.store.reading() as tx:
            return [job for job in tx.jobs.open() if job.pipeline == PIPELINE]

    def _job(self, number: int) -> Job | None:
        """The open job with this number; None for one that has ended."""
        found = next((job for job in self._open() if number_of(job.id) == number), None)
        if found is None:
            with self._host.store.reading() as tx:
                ended = any(number_of(job.id) == number for job in tx.jobs.listing(limit=1000))
            if not ended:
                raise NotFound(f"There is no job {number}.")
        return found

    def _worker(self, slug: str, client: ClientInfo) -> str | None:
        """Which registered worker asks: the one whose name holds its host, else the one that was seen last."""
        with self._host.store.reading() as tx:
            serving = [
                worker
                for worker in tx.workers.listing()
                if worker.hello.software == SOFTWARE and any(one.implementation == slug for one in worker.hello.serves)
            ]
        named = [one for one in serving if client.hostname and client.hostname in one.hello.worker_id]
        newest = max(named or serving, key=lambda worker: worker.last_seen, default=None)
        return None if newest is None else newest.hello.worker_id

    def _taken(self, worker: str, slug: str, *, most: int, scopes: frozenset[str]) -> list[PictureOut]:
        named = Named(_ADDRESS, slug)
        ask = TakeAsk(worker_id=worker, serves=[named], max_tasks=most, max_records=most)
        admission = self._desk.admit(ask, scopes=scopes)
        if not admission.versions:
            return []
        taken = self._desk.take(ask, admission, wait=timedelta())
        until = self._host.clock.now() + _THEIRS.total_seconds()
        with self._lock:
            self._out.update((one.task.id, (worker, until)) for one in taken.tasks)
        shown = self._desk.open_form(taken, base_url="")
        return [
            _picture(task, at, Lease(worker, held.task.id, record.key, held.token, source_of(record.id), slug))
            for held, task in zip(taken.tasks, shown, strict=True)
            for at, record in enumerate(task.records)
        ]

    def _result(self, lease: Lease, said: Mapping[str, Value]) -> ResultIn:
        """One result as the desk takes it."""
        if "error" in said:
            return _failed(lease, "MODEL_ERROR", str(said["error"]) or "The worker gave no reason.")
        try:
            answer = converted(dict(said), type=ProcessAnswer, of="The result")
            if answer.told_errors:
                return _failed(lease, "MODEL_ERROR", answer.told_errors)
            image = _image_of(answer, lease)
            children = children_of(answer, image=image, algorithms=self._algorithms(lease))
        except NotUnderstood as error:
            return _failed(lease, "OUTPUT_INVALID", str(error))
        seconds = answer.total_time or 0.0
        return ResultIn(key=lease.key, ok=True, value=children, timing={"inference": seconds, "total": seconds})

    def _algorithms(self, lease: Lease) -> dict[str, Algorithm]:
        """The algorithms that the worker registered for the pipeline; read again after a restart."""
        with self._host.store.reading() as tx:
            worker = tx.workers.get(lease.worker)
        served = [one for one in worker.hello.serves if one.implementation == lease.slug] if worker else []
        sha256 = (served[0].version.environment or {}).get(_REGISTERED, "") if served else ""
        if sha256 not in self._known:
            try:
                raw = self._host.app.artifacts.path(sha256).read_bytes()
            except (ArtifactMissing, OSError, ValueError):
                return {}
            pipeline = msgspec.json.decode(raw, type=ServicePipeline)
            self._known[sha256] = declared_algorithms(ServiceInfo(pipelines=[pipeline]), slug=pipeline.slug)
        return self._known[sha256]

    def _forget(self, receipts: Mapping[int, TaskReceipt]) -> None:
        with self._lock:
            for task, receipt in receipts.items():
                if not receipt.open:
                    self._out.pop(task, None)


def _worker_id(service: str) -> str:
    return f"v2:{service}"


def _detectors(job: Job) -> list[str]:
    """The implementations that a job chose for its detector, each once."""
    chosen = [way for stage, ways in job.choices.items() if stage.partition("#")[0] == STAGE for way in ways]
    return list(dict.fromkeys(chosen))


def _picture(task: TaskOut, at: int, lease: Lease) -> PictureOut:
    record = task.records[at]
    return PictureOut(
        id=record.key.partition("-")[0],
        image_id=lease.image,
        image_url=record.reads["image"]["url"],
        reply_subject=subject_of(lease),
    )


def _image_of(answer: ProcessAnswer, lease: Lease) -> str:
    """What the answer calls the picture: whatever it likes where it is about one alone."""
    named = {one.id for one in answer.source_images} | {one.source_image_id for one in answer.detections}
    return named.pop() if len(named) == 1 else lease.image


def _failed(lease: Lease, code: str, message: str) -> ResultIn:
    return ResultIn(key=lease.key, ok=False, failure=FailureIn(code=code, message=message[:1000], retryable=False))


def _problem(receipt: TaskReceipt, *, alone: bool) -> str:
    """Why a result was not taken; one of several is told only what concerns them all."""
    if receipt.state not in ("refused", "cancelled"):
        return ""
    told = "; ".join(receipt.problems) or f"The task is {receipt.state}."
    return told if alone or receipt.state == "cancelled" or "lease" in told else ""
