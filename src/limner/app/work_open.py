"""Tasks in the open form on their way out, and results on their way in: what was handed out is remembered between."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.app.work_wire import (
    ARTIFACT,
    AnswerIn,
    Handed,
    Judge,
    LeaseOut,
    ResultIn,
    TaskOut,
    files_of,
    from_key,
    handed,
    seconds_of,
    task_out,
)
from limner.domain.tasks import Answer, Outcome, Runtime, Status, Task

if TYPE_CHECKING:
    from limner.app.hosting import Host

#: Bytes of handed-out tasks that are remembered; of older ones no read digests are known.
_REMEMBERED = 64_000_000


class Judged(Struct, frozen=True, kw_only=True):
    """An answer in the open form as the engine takes it."""

    answer: Answer
    #: What is wrong with it, in sentences.
    problems: list[str]


class OpenForm:
    """Translates between the engine's messages and the open form, for one project; shared by threads."""

    def __init__(self, host: "Host", *, max_value_bytes: int) -> None:
        self._host = host
        self._max_value_bytes = max_value_bytes
        self._lock = threading.Lock()
        self._handed: OrderedDict[tuple[int, int], Handed] = OrderedDict()
        self._bytes = 0

    def hand_out(self, task: Task, *, lease: LeaseOut, base_url: str, cut: bool) -> TaskOut:
        """*task* as any consumer takes it; *cut* says that it holds more records than are handed out."""
        rows = handed(task, cut=cut)
        with self._lock:
            self._handed[(task.id, task.attempt)] = rows
            self._bytes += rows.size
            while self._bytes > _REMEMBERED and len(self._handed) > 1:
                self._bytes -= self._handed.popitem(last=False)[1].size
        return task_out(task, lease=lease, base_url=base_url, sizes=self.sizes(task))

    def judge(self, worker: str, said: AnswerIn, *, attempt: int) -> Judged | None:
        """What a worker says of a task; None where there never was such a task."""
        with self._lock:
            rows = self._handed.get((said.task_id, attempt))
        runtime = rows.runtime if rows is not None else self._runtime(said.task_id)
        if runtime is None:
            return None
        named = {sha256 for result in said.results for sha256 in result.artifacts.values()}
        judge = Judge(runtime, max_value_bytes=self._max_value_bytes, sizes=self._held(named))
        outcomes: list[Outcome] = []
        places: list[tuple[int, bytes]] = []
        problems: list[str] = []
        for result in said.results:
            place = _place(result, rows)
            if place is None:
                problems.append(f"{result.key[:80]!r} is no key of this task.")
                continue
            row = None if rows is None else rows.rows[place[0]]
            outcome = judge.outcome(result, index=len(outcomes), row=row)
            problems += _problems(result, outcome)
            outcomes.append(outcome)
            places.append(place)
        answer = Answer(
            task=said.task_id,
            attempt=attempt,
            worker=worker,
            outcomes=outcomes,
            keys=[key for key, _ in places],
            asked=[asked for _, asked in places],
            started=self._host.clock.now() - seconds_of(said.results, name="total"),
            seconds=seconds_of(said.results, name="inference"),
            last=self._answered(rows, [key for key, _ in places]),
        )
        return Judged(answer=answer, problems=problems)

    def sizes(self, task: Task) -> dict[str, int]:
        """Bytes of the artifacts that a task reads."""
        urls = {ref.url for files in files_of(task) for ref in files}
        return self._held({url.removeprefix(ARTIFACT) for url in urls if url.startswith(ARTIFACT)})

    def _answered(self, rows: Handed | None, keys: Sequence[int]) -> bool:
        """Whether all that was handed out of a task that was cut is answered: then the rest of it is to be sent."""
        if rows is None:
            return False
        with self._lock:
            rows.left.difference_update(keys)
            return rows.cut and not rows.left

    def _held(self, digests: set[str]) -> dict[str, int]:
        """Bytes of those artifacts that this project holds."""
        if not digests:
            return {}
        with self._host.app.store.reading() as tx:
            missing = set(tx.held.missing(sorted(digests)))
            return {sha256: tx.held.get(sha256).size for sha256 in digests - missing}

    def _runtime(self, task: int) -> Runtime | None:
        """What the stage of a task declares, where it was handed out by an earlier process."""
        with self._host.app.store.reading() as tx:
            stored = tx.tasks.any_state(task)
            nodes: Mapping[int, tuple[str, str, str]] = {
                node.pk: (node.pipeline, node.stage, node.implementation) for node in tx.nodes.all()
            }
        if stored is None or nodes[stored.node][0] not in self._host.pipelines:
            return None
        pipeline, name, implementation = nodes[stored.node]
        stage = self._host.pipelines[pipeline].stage(name)
        way = stage.chosen(implementation)
        return Runtime(
            address=f"{pipeline}.{name}/{implementation}",
            infer=way.infer,
            kind=stage.kind,
            params=way.params,
            model=None,
            reads={source: read.file for source, read in stage.reads_of(implementation).items()},
            outputs=stage.outputs,
            batch=stage.batch_of(implementation),
            timeout=stage.timeout_of(implementation),
            identity=stage.identity,
        )


def _place(result: ResultIn, rows: Handed | None) -> tuple[int, bytes] | None:
    """The record's key and the digest asked; None where the key was not handed out with the task."""
    try:
        key, asked = from_key(result.key)
    except ValueError:
        return None
    return None if rows is not None and key not in rows.rows else (key, asked)


def _problems(result: ResultIn, outcome: Outcome) -> list[str]:
    """What is wrong with a result that its worker called good."""
    if not result.ok or outcome.status is not Status.FAILED or outcome.failure is None:
        return []
    return [f"{result.key}: {outcome.failure.code.value}: {outcome.failure.message}"]
