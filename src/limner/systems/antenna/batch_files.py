"""The output and error files of a batch: made once it has ended, however it ended."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import structlog

from limner.api.job_pages import view_of
from limner.app.hosting import Host
from limner.domain.jobs import Fate, Job
from limner.domain.records import SetAside
from limner.domain.values import Value, plain
from limner.errors import LimnerError
from limner.store.files import StoredFile
from limner.store.store import Transaction
from limner.systems.antenna.batch_lines import ReadLine, lines_of
from limner.systems.antenna.batch_object import DETAIL, ERRORS, OUTPUT, file_id, made_file
from limner.systems.antenna.callback import telling, told_with
from limner.systems.antenna.callback_images import Pictures
from limner.systems.antenna.status_words import stopped

#: Lines whose pictures are told together.
_RUN = 200
#: Batches with more pictures have their files made behind the back of whoever asks.
_AT_ONCE = 1000
_log = structlog.get_logger(__name__)


class BatchFiles:
    """Makes the files of ended batches, each once; shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: set[str] = set()

    def see_to(self, host: Host, job: Job) -> None:
        """Have the files of a batch that has ended made: at once where they are small, else in the background."""
        if not job.state.ended:
            return
        with host.store.reading() as tx:
            made = all(made_file(tx, job, kind) is not None for kind in (OUTPUT, ERRORS))
            count = tx.ledger.counts(job.id).records
        mark = f"{job.id} {job.round}"
        with self._lock:
            if made or mark in self._making:
                return
            self._making.add(mark)
        if count <= _AT_ONCE:
            self._make(host, job, mark)
        else:
            threading.Thread(target=self._make, args=(host, job, mark), name=f"files {job.id}", daemon=True).start()

    def _make(self, host: Host, job: Job, mark: str) -> None:
        try:
            write_files(host, job)
        except LimnerError as error:
            _log.error("batch_files_not_made", job=job.id, reason=str(error))
        finally:
            with self._lock:
                self._making.discard(mark)


def write_files(host: Host, job: Job) -> None:
    """Write what became of every line of a batch into one of its two files."""
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(tempfile.NamedTemporaryFile(prefix="limner-batch-")) for kind in (OUTPUT, ERRORS)
        }
        for kind, line in _told(host, job):
            files[kind].write(msgspec.json.encode(plain(line)) + b"\n")
        stored = []
        for kind, file in files.items():
            file.flush()
            path = Path(file.name)
            stored.append(
                StoredFile(
                    id=file_id(job, kind),
                    name=f"{job.id}_{kind}.jsonl",
                    purpose="batch_output",
                    sha256=host.app.artifacts.put_file(path),
                    size=path.stat().st_size,
                    created=host.clock.now(),
                )
            )
    with host.lock, host.store.transaction() as tx:
        for one in stored:
            if made_file(tx, job, one.id.rpartition("-")[2]) is None:
                tx.files.add(one)


def _told(host: Host, job: Job) -> Iterator[tuple[str, dict[str, Value]]]:
    """Every line, with the file that it belongs into."""
    told = job.detail[DETAIL]
    with host.store.reading() as tx:
        given = tx.files.get(told["input_file_id"])
    with host.app.artifacts.path(given.sha256).open("rb") as file:
        lines = lines_of(file, project=told_with(job)["project_id"], config=told["config"])
        while run := _next(lines):
            with host.store.reading() as tx:
                yield from _run(tx, host, job, run)


def _next(lines: Iterator[ReadLine]) -> list[ReadLine]:
    return [line for line, _ in zip(lines, range(_RUN), strict=False)]


def _run(tx: Transaction, host: Host, job: Job, run: Sequence[ReadLine]) -> Iterator[tuple[str, dict[str, Value]]]:
    view = view_of(tx, host, job)
    ids = [line.taken.id for line in run if not isinstance(line.taken, SetAside)]
    keys = tx.records.keys(view.root, ids)
    fates = tx.ledger.fates(job.id, sorted(keys.values()))
    pictures = Pictures(tx, view, job, sorted(fates), telling=telling(host, job))
    for line in run:
        if isinstance(line.taken, SetAside):
            yield ERRORS, _failed(job, line, code=line.taken.code.value, message=line.taken.reason)
            continue
        key = keys.get(line.taken.id)
        fate = Fate.CANCELLED if key is None else fates.get(key, Fate.CANCELLED)
        if key is not None and fate in (Fate.DONE, Fate.SKIPPED):
            yield OUTPUT, _line(job, line, body=pictures.image(key))
        else:
            why = pictures.error(key) if key is not None and key in fates else None
            why = why or stopped(job)
            yield ERRORS, _failed(job, line, code=why["code"], message=why["message"])


def _line(job: Job, line: ReadLine, *, body: dict[str, Value]) -> dict[str, Value]:
    response = {"status_code": 200, "request_id": job.id, "body": body}
    return {"id": _id(job, line), "custom_id": line.custom_id, "response": response, "error": None}


def _failed(job: Job, line: ReadLine, *, code: str, message: str) -> dict[str, Value]:
    error = {"code": code, "message": message}
    return {"id": _id(job, line), "custom_id": line.custom_id, "response": None, "error": error}


def _id(job: Job, line: ReadLine) -> str:
    return f"{job.id}-{line.row}"
