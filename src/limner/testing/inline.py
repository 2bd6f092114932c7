"""A worker without processes or threads: takes what waits on a bus and answers at once, for tests of an engine."""

import hashlib
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import msgpack

from limner.artifacts.base import Artifacts
from limner.bus.base import Bus
from limner.domain.tasks import ANSWERS, Answer, LocalFile, Status, Task, decode_file, decode_task, encode_message
from limner.inferrers.host import Host

_NIL = b"\xc0"


class InlineWorker:
    """Answers the tasks that wait on a bus, in the caller's thread; inferrers run in this process."""

    def __init__(self, bus: Bus, *, artifacts: Artifacts | None = None) -> None:
        """Files that inferrers make are put into *artifacts*, and read from there."""
        self._bus = bus
        self._artifacts = artifacts
        self._hosts: dict[str, Host] = {}
        #: Records that were handed to an inferrer or found unchanged, by topic.
        self.asked: Counter[str] = Counter()
        #: Those of them that were inferred, by topic.
        self.inferred: Counter[str] = Counter()

    def work(self, topics: list[str], *, limit: int = 1000) -> int:
        """Answer up to *limit* tasks of *topics*; how many there were."""
        deliveries = self._bus.take(topics, limit=limit, wait=timedelta())
        answers = [encode_message(self._answer(decode_task(delivery.body))) for delivery in deliveries]
        self._bus.publish(ANSWERS, answers)
        self._bus.acknowledge(deliveries)
        return len(deliveries)

    def _answer(self, task: Task) -> Answer:
        runtime = task.runtime
        key = f"{runtime.address} {task.version}"
        if key not in self._hosts:
            self._hosts[key] = Host(runtime)
        columns = {
            name: [self._local(value) for value in values] if runtime.reads[name] else values
            for name, values in task.columns.items()
        }
        self.asked[runtime.address] += len(task.keys)
        ran = self._hosts[key].run(columns, prior=task.prior)
        if self._artifacts is not None:
            for file in ran.files:
                self._artifacts.put_file(file.path, expected=file.sha256)
        unchanged = sum(1 for outcome in ran.outcomes if outcome.status is Status.UNCHANGED)
        self.inferred[runtime.address] += len(ran.outcomes) - unchanged
        return Answer(
            task=task.id,
            attempt=task.attempt,
            worker="inline",
            outcomes=ran.outcomes,
            keys=[task.keys[outcome.index] for outcome in ran.outcomes],
            asked=[task.asked[outcome.index] for outcome in ran.outcomes],
            started=0.0,
            seconds=0.0,
        )

    def _local(self, value: bytes) -> bytes:
        """The file behind a ``file://`` address, or the artifact."""
        if value == _NIL:
            return value
        url = decode_file(value).url
        if url.startswith("artifact:") and self._artifacts is not None:
            path = self._artifacts.path(url.removeprefix("artifact:"))
        else:
            path = Path(unquote(urlsplit(url).path))
        return msgpack.encode(LocalFile(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
