"""The desk where jobs are made, sealed, cancelled, retried and ended."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from msgspec import structs

from limner.clock import Clock
from limner.domain.jobs import Counts, Fate, Job, JobState
from limner.domain.pipelines import StageKind
from limner.domain.values import Value
from limner.engine.assessing import family_fates
from limner.engine.groups import plan_marked
from limner.engine.planner import Planner
from limner.engine.scopes import Scope
from limner.engine.views import View
from limner.errors import UsageError
from limner.ids import new_id
from limner.store.ledger import standing
from limner.store.store import Transaction
from limner.store.tasks import StoredTask


class Desk:
    """Moves jobs."""

    def __init__(self, *, planner: Planner, clock: Clock) -> None:
        self._planner = planner
        self._clock = clock

    def open(
        self,
        tx: Transaction,
        pipeline: str,
        *,
        choices: Mapping[str, Sequence[str]],
        priority: int = 0,
        expires_in: timedelta | None = None,
        fail_threshold: float | None = None,
        detail: Mapping[str, Value] | None = None,
    ) -> Job:
        """Make a job that has no records yet and is running; it is stopped after *expires_in*."""
        now = self._clock.now()
        job = Job(
            id=new_id("job", now=now),
            pipeline=pipeline,
            state=JobState.WAITING,
            choices={stage: list(ways) for stage, ways in choices.items()},
            priority=priority,
            created=now,
            expires=None if expires_in is None else now + expires_in.total_seconds(),
            fail_threshold=fail_threshold,
            detail=dict(detail or {}),
        )
        tx.jobs.add(job)
        tx.jobs.move(job.id, JobState.RUNNING, at=now)
        return tx.jobs.get(job.id)

    def seal(self, tx: Transaction, identity: str, scope: Scope) -> None:
        """Say that all records of a job, which looks through *scope*, are known: from now on it may end."""
        tx.jobs.replace(structs.replace(tx.jobs.get(identity), sealed=True))
        counts = tx.ledger.counts(identity)
        tx.jobs.event(identity, "sealed", at=self._clock.now(), detail={"records": counts.records})
        # Groups that span its records waited for this.
        plan_marked(tx, scope, self._planner)

    def end(self, tx: Transaction, scopes: Sequence[Scope]) -> list[str]:
        """End the jobs that have nothing open, whose time is over, or of which too much failed; their ids."""
        ended = []
        for scope in scopes:
            for identity in scope.jobs:
                job = tx.jobs.get(identity)
                if job.state is not JobState.RUNNING:
                    continue
                if job.expires is not None and self._clock.now() >= job.expires:
                    self.stop(tx, identity, scopes, state=JobState.EXPIRED)
                elif self._too_many_failed(tx, job):
                    self.stop(tx, identity, scopes, state=JobState.FAILED)
                elif job.sealed and self._finished(tx, scope.view, identity):
                    counts = tx.ledger.counts(identity)
                    tx.jobs.move(identity, _end_of(counts), at=self._clock.now(), detail=structs.asdict(counts))
                else:
                    continue
                ended.append(identity)
        return ended

    def _too_many_failed(self, tx: Transaction, job: Job) -> bool:
        if job.fail_threshold is None:
            return False
        counts = tx.ledger.counts(job.id)
        return counts.failed > job.fail_threshold * counts.records

    def _finished(self, tx: Transaction, view: View, identity: str) -> bool:
        gathers = [node.pk for node in view.gathers if node.version is not None]
        return (
            tx.ledger.counts(identity).open == 0
            and not tx.tasks.any_open(job=identity)
            and not (gathers and (tx.groups.any_marked(gathers) or tx.tasks.any_of(gathers)))
        )

    def cancel(self, tx: Transaction, identity: str, scopes: Sequence[Scope]) -> Counts:
        """
        Stop a job: finished results stay, what is open is cancelled; work that another job wants too is left to it.

        Raises:
            IllegalMove: it has ended.
        """
        tx.jobs.move(identity, JobState.CANCELLING, at=self._clock.now())
        return self.stop(tx, identity, scopes, state=JobState.CANCELLED)

    def stop(self, tx: Transaction, identity: str, scopes: Sequence[Scope], *, state: JobState) -> Counts:
        """Close what is open in a job, and move it to *state*; what another job waits for is left to it."""
        dropped: list[int] = []
        nodes: set[int] = set()
        others = any(job != identity for scope in scopes for job in scope.jobs)
        for task in tx.tasks.open_of(job=identity):
            # Alone, a large job has no heir to look for among its records.
            heir = self._heir(tx, task, scopes, but=identity) if others else None
            if heir is not None:
                tx.tasks.give_to([task.pk], job=heir)
            else:
                dropped.append(task.pk)
                nodes.add(task.node)
        tx.tasks.drop(dropped)
        # What was dropped is still wanted by a standing pipeline: its next run looks for it.
        tx.nodes.needs_pass(sorted(nodes))
        self._close_ledger(tx, identity, Fate.CANCELLED)
        counts = tx.ledger.counts(identity)
        tx.jobs.replace(structs.replace(tx.jobs.get(identity), sealed=True))
        tx.jobs.move(identity, state, at=self._clock.now(), detail=structs.asdict(counts))
        return counts

    def _heir(self, tx: Transaction, task: StoredTask, scopes: Sequence[Scope], *, but: str) -> str | None:
        """Another job that waits for what a task makes."""
        records = tx.records.load(task.keys).values()
        for scope in scopes:
            node = scope.view.node(task.node)
            if node is None:
                continue
            counted = [r.root or r.pk for r in records if r.root is not None or r.collection == scope.view.root]
            # Groups, and records of other sources, are counted by no job: whoever is at work may wait for them.
            shared = node.stage.kind is StageKind.GATHER or len(counted) < len(records)
            for job in scope.jobs:
                if job != but and (shared or Fate.OPEN in tx.ledger.fates(job, sorted(set(counted))).values()):
                    return job
        return None

    def _close_ledger(self, tx: Transaction, identity: str, fate: Fate) -> None:
        for page in tx.ledger.pages(identity, having=Fate.OPEN):
            tx.ledger.settle(identity, {key: fate for key, old in page.items() if old is Fate.OPEN})

    def retry(
        self,
        tx: Transaction,
        scope: Scope,
        identity: str,
        *,
        cancelled: bool = True,
        codes: Collection[str] | None = None,
    ) -> int:
        """
        Open a new round for what failed, and with *cancelled* what was cancelled, in an ended job; how many that is.

        With *codes*, only what failed with one of them.

        Raises:
            UsageError: nothing failed so, or the job has not ended.
        """
        job = tx.jobs.get(identity)
        if not job.state.ended:
            raise UsageError(f"Job {identity} is {job.state}; it can be retried once it has ended.")
        wanted = (Fate.FAILED, Fate.CANCELLED) if cancelled and codes is None else (Fate.FAILED,)
        count = 0
        for page in list(tx.ledger.pages(identity)):
            again = [key for key, fate in page.items() if fate in wanted]
            if codes is not None:
                again = _failed_with(tx, scope.view, again, codes)
            if again:
                count += len(again)
                fates = self.ask_again(tx, scope, again, job=identity)
                tx.ledger.settle(identity, {key: fates.get(key, Fate.OPEN) for key in again})
        if not count:
            told = f" with {', '.join(codes)}" if codes else ""
            raise UsageError(f"Nothing failed{told} in job {identity}, so there is nothing to retry.")
        again_until = None if job.expires is None else self._clock.now() + (job.expires - job.created)
        tx.jobs.replace(structs.replace(job, round=job.round + 1, sealed=True, ended=None, expires=again_until))
        tx.jobs.move(identity, JobState.RUNNING, at=self._clock.now(), detail={"retried": count})
        return count

    def ask_again(self, tx: Transaction, scope: Scope, keys: Sequence[int], *, job: str | None) -> dict[int, Fate]:
        """Make the failed results of records and of their descendants stale, and plan them; their fates then."""
        view = scope.view
        by_collection = {view.root: list(keys)}
        for _, collection, key in tx.records.descendants(list(keys)):
            by_collection.setdefault(collection, []).append(key)
        gathers = {node.pk for node in view.gathers}
        for collection, members in by_collection.items():
            failed = []
            for start in range(0, len(members), 500):
                chunk = sorted(members[start : start + 500])
                rows = tx.results.failed(versions=view.versions, span=(chunk[0], chunk[-1]), limit=1_000_000)
                wanted = set(chunk)
                failed += [(r[0], r[1], view.versions[r[1]]) for r in rows if r[0] in wanted]
            tx.results.forget_asked(failed)
            for node in gathers:
                tx.groups.mark(node, [key for key, pk, _ in failed if pk == node], job=job)
            self._planner.plan(tx, view, collection, sorted(members), job=job)
        plan_marked(tx, scope, self._planner)
        fates = family_fates(tx, view, list(keys))
        if scope.standing:
            tx.ledger.settle(standing(view.pipeline.name), fates)
        return fates


def _end_of(counts: Counts) -> JobState:
    """How a job ends of which nothing is open: failed where nothing succeeded."""
    if not counts.failed:
        return JobState.DONE
    return JobState.DONE_WITH_FAILURES if counts.done or counts.skipped else JobState.FAILED


def _failed_with(tx: Transaction, view: View, roots: Sequence[int], codes: Collection[str]) -> list[int]:
    """Those of *roots* of which a result, or one of a descendant, failed with one of *codes*."""
    root_of = {key: key for key in roots}
    root_of |= {key: root for root, _, key in tx.records.descendants(list(roots))}
    found = set()
    members = sorted(root_of)
    for start in range(0, len(members), 500):
        chunk = members[start : start + 500]
        for row in tx.results.failed(versions=view.versions, span=(chunk[0], chunk[-1]), limit=1_000_000):
            if row[0] in root_of and row[4].code in codes:
                found.add(root_of[row[0]])
    return sorted(found)
