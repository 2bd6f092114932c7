"""What answers say, collected before one transaction writes it."""

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from limner.domain.failures import Failure, FailureCode
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.retry import final
from limner.domain.tasks import Answer, Outcome, Status
from limner.store.results import FailedAttempt, ResultRow, encode_failure
from limner.store.tasks import NewTask, StoredTask, Tally, TaskState

#: What ends an attempt of a whole call; only a record that was alone in it is charged.
_DEADLY = (FailureCode.WORKER_LOST, FailureCode.STAGE_TIMEOUT, FailureCode.OUT_OF_MEMORY)


class Spent(Struct, kw_only=True):
    """What a job's answers add to its counters."""

    inferred: int = 0
    reused: int = 0
    downloads: int = 0


class Collected(Struct, kw_only=True):
    """What the answers of one commit say."""

    #: The time of the commit.
    now: float
    rows: list[ResultRow] = field(default_factory=list)
    #: Results whose input was found unchanged: digest asked, record, node, version.
    confirmed: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    attempts: list[FailedAttempt] = field(default_factory=list)
    #: Retries.
    new: list[NewTask] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    #: Records whose result changed, by the job whose task it was and by node.
    touched: dict[str | None, dict[int, set[int]]] = field(default_factory=dict)
    spent: dict[str, Spent] = field(default_factory=dict)
    #: Records inferred and seconds they took, by version.
    measured: dict[int, tuple[int, float]] = field(default_factory=dict)
    #: Positions of the rows that hold lists of children, by node and parent.
    expanded: dict[int, dict[int, int]] = field(default_factory=dict)

    def take(self, task: StoredTask, node: Node, answer: Answer, remaining: dict[int, None]) -> None:
        """Collect what one answer says about records of its task that are still open."""
        counts = dict.fromkeys(Status, 0)
        touched = self.touched.setdefault(task.job, {}).setdefault(task.node, set())
        retried: dict[tuple[int, float, int], list[int]] = {}
        for key, asked, outcome in zip(answer.keys, answer.asked, answer.outcomes, strict=True):
            if key not in remaining:
                continue
            del remaining[key]
            if outcome.status is Status.UNCHANGED:
                counts[Status.UNCHANGED] += 1
                self.confirmed.append((asked, key, task.node, task.version))
            elif outcome.status is Status.FAILED:
                again = self._failed(task, node, answer, key, asked, outcome)
                if again is not None:
                    retried.setdefault(again, []).append(key)
                    continue
                counts[Status.FAILED] += 1
                self._expands(task, node, key, before=1)
            else:
                counts[outcome.status] += 1
                self._expands(task, node, key)
                self.rows.append(_row(task, key, outcome, asked))
            touched.add(key)
        self._retry(task, retried)
        self._count(task, answer, counts, remaining)

    def _expands(self, task: StoredTask, node: Node, key: int, *, before: int = 0) -> None:
        """Remember where the row of an expansion stands: the next one, or the one *before*."""
        if node.stage.kind is StageKind.EXPAND:
            self.expanded.setdefault(task.node, {})[key] = len(self.rows) - before

    def _failed(
        self, task: StoredTask, node: Node, answer: Answer, key: int, asked: bytes, outcome: Outcome
    ) -> tuple[int, float, int] | None:
        """Log a failed attempt; what to try again as, or None where the failure is final and its row is written."""
        failure = outcome.failure or Failure(code=FailureCode.MODEL_ERROR, message="The worker gave no reason.")
        tried = task.tried + 1
        again = node.stage.retry.allows(failure, tried=tried)
        ended = failure if again else final(failure, tried=tried)
        now = self.now
        self.attempts.append(
            FailedAttempt(
                record=key,
                node=task.node,
                version=task.version,
                task=task.pk,
                job=task.job,
                tried=tried,
                worker=answer.worker,
                at=now,
                final=not again,
                failure=ended,
            )
        )
        if again:
            # A record that killed its process goes on alone, so that it kills nobody else's self.
            alone = key if failure.code in _DEADLY else 0
            return tried, now + node.stage.retry.wait(failure, tried=tried), alone
        self.rows.append(
            (
                *(key, task.node, task.version, Status.FAILED.value, task.pk, tried, asked),
                *(outcome.read_digest, b"", encode_failure(ended)),
            )
        )
        return None

    def _retry(self, task: StoredTask, retried: Mapping[tuple[int, float, int], list[int]]) -> None:
        """Plan the records that are tried again; those that failed alike share a task."""
        for (tried, when, _), keys in retried.items():
            self.new.append(
                NewTask(
                    node=task.node,
                    version=task.version,
                    keys=sorted(keys),
                    job=task.job,
                    priority=task.priority,
                    tried=tried,
                    not_before=when,
                )
            )

    def _count(self, task: StoredTask, answer: Answer, counts: Mapping[Status, int], remaining: Iterable[int]) -> None:
        """Collect what one answer adds to the counts of its task, its job and its version."""
        left = list(remaining)
        self.tallies.append(
            Tally(
                pk=task.pk,
                open=left,
                done=counts[Status.DONE],
                failed=counts[Status.FAILED],
                skipped=counts[Status.SKIPPED],
                unchanged=counts[Status.UNCHANGED],
                worker=answer.worker,
                started=answer.started,
                seconds=answer.seconds,
                at=self.now,
                ended=not left,
                # One that was not sent again yet is not in anybody's hands either.
                back=bool(left) and (answer.last or task.state == TaskState.READY),
            )
        )
        if task.job is not None:
            spent = self.spent.setdefault(task.job, Spent())
            spent.inferred += counts[Status.DONE]
            spent.reused += counts[Status.UNCHANGED]
            spent.downloads += answer.downloads
        before = self.measured.get(task.version, (0, 0.0))
        self.measured[task.version] = (before[0] + counts[Status.DONE], before[1] + answer.seconds)


def _row(task: StoredTask, key: int, outcome: Outcome, asked: bytes) -> ResultRow:
    """The result of one outcome; its status as a plain number, which drivers take faster than an enumeration."""
    read, value_digest, value = outcome.read_digest, outcome.value_digest, outcome.value
    status = int(outcome.status)
    return (key, task.node, task.version, status, task.pk, task.tried + 1, asked, read, value_digest, value)
