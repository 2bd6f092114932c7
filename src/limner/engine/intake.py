"""Intake: source rows become records, and what they make stale is planned in the same transaction."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from limner.clock import Clock
from limner.domain.jobs import Fate
from limner.domain.records import RecordIn, SetAside
from limner.engine.assessing import fates_of_roots
from limner.engine.children import plan_below, plan_families
from limner.engine.groups import plan_marked
from limner.engine.marks import enroll, mark_left
from limner.engine.planner import Planner
from limner.engine.scopes import Scope
from limner.store.ledger import standing
from limner.store.records import Intaken
from limner.store.store import Transaction


class Taken(Struct, frozen=True, kw_only=True):
    """What one page of a source did."""

    records: int = 0
    changed: int = 0
    superseded: int = 0
    set_aside: int = 0
    #: Results that were found current.
    reused: int = 0


class Intake:
    """Takes records in."""

    def __init__(self, *, planner: Planner, clock: Clock) -> None:
        self._planner = planner
        self._clock = clock

    def take(
        self,
        tx: Transaction,
        scopes: Sequence[Scope],
        mine: Scope,
        job: str,
        page: Sequence[RecordIn | SetAside],
        *,
        priority: int = 0,
    ) -> Taken:
        """Take one page in for *job*, which looks through *mine*; every standing pipeline plans what changed."""
        aside = [row for row in page if isinstance(row, SetAside)]
        given = [row for row in page if isinstance(row, RecordIn)]
        tx.jobs.set_aside(job, aside)
        taken = tx.records.take_in(given)
        by_collection = _by_collection(tx, given, taken.keys)
        changed = set(taken.changed)
        fates: dict[int, Fate] = {}
        every = [*(scope for scope in scopes if scope.view.key != mine.view.key), mine]
        self._plan_named(tx, [scope for scope in every if scope.standing or scope is mine], taken, job=job)
        for collection, keys in by_collection.items():
            moved = [key for key in keys if key in changed]
            for scope in every:
                if collection in scope.view.collections.values() and (scope.standing or scope is mine):
                    found = self._plan(tx, scope, collection, moved, taken, job=job, priority=priority)
                    if scope is mine:
                        fates |= found
            if moved:
                tx.journal.write(collection, moved, kind="records", at=self._clock.now())
        reused = self.enter(tx, mine, job, by_collection, fates, priority=priority)
        for scope in every:
            plan_marked(tx, scope, self._planner)
        return Taken(
            records=len(given),
            changed=len(changed),
            superseded=taken.superseded,
            set_aside=len(aside),
            reused=reused,
        )

    def _plan_named(self, tx: Transaction, scopes: Sequence[Scope], taken: Intaken, *, job: str) -> None:
        """Plan parents that no source described yet: what their stages lack is known, so that nobody waits for it."""
        for scope in scopes:
            for collection in set(taken.named) & set(scope.view.collections.values()):
                self._planner.plan(tx, scope.view, collection, taken.named[collection], job=job)
                enroll(tx, scope.view, collection, taken.named[collection], job=job)

    def _plan(
        self,
        tx: Transaction,
        scope: Scope,
        collection: int,
        moved: list[int],
        taken: Intaken,
        *,
        job: str,
        priority: int,
    ) -> dict[int, Fate]:
        """Plan new and changed records, and the children that read them; their fates."""
        if not moved:
            return {}
        view, added = scope.view, set(taken.added)
        found = [self._planner.plan(tx, view, collection, moved, job=job, priority=priority)]
        enroll(tx, view, collection, moved, job=job)
        mark_left(tx, view, taken.left, job=job)
        below = plan_below(tx, view, self._planner, [key for key in moved if key not in added], job=job)
        for assessment in below:
            tx.journal.write(assessment.collection, assessment.keys, kind="records", at=self._clock.now())
        fates = fates_of_roots(tx, view, *found, *below)
        if collection == view.root:
            scope.enter(tx, {key: fates[key] for key in moved if key in fates})
        scope.settle(tx, fates)
        return fates

    def enter(
        self,
        tx: Transaction,
        mine: Scope,
        job: str,
        by_collection: Mapping[int, Sequence[int]],
        fates: Mapping[int, Fate],
        *,
        priority: int = 0,
    ) -> int:
        """
        Enter records into the job's ledger, those that are there already left out; how many results were current.

        A standing pipeline knows the fates of records that did not change; for another one they are assessed.
        """
        reused = 0
        for collection, keys in by_collection.items():
            there = tx.ledger.fates(job, keys)
            new = [key for key in dict.fromkeys(keys) if key not in there]
            still = [key for key in new if key not in fates]
            known = dict(fates)
            if still:
                found, settled = self._fates(tx, mine, collection, still, job=job, priority=priority)
                known |= found
                reused += settled
            tx.ledger.enter(job, {key: known[key] for key in new if key in known})
        return reused

    def _fates(
        self, tx: Transaction, mine: Scope, collection: int, keys: list[int], *, job: str, priority: int
    ) -> tuple[dict[int, Fate], int]:
        """Fates of records that did not change, and how many of their results are current."""
        view = mine.view
        nodes = [node for node in view.over(collection) if node.version is not None]
        if mine.standing and collection == view.root:
            fates = tx.ledger.fates(standing(view.pipeline.name), keys)
            if len(fates) == len(keys):
                ended = sum(1 for fate in fates.values() if fate is not Fate.OPEN)
                return fates, ended * len(nodes)
        if not mine.standing:
            # Nothing is planned before somebody asks for it, so it may be new here to all that is below.
            enroll(tx, view, collection, keys, job=job)
        found = [self._planner.plan(tx, view, collection, keys, job=job, priority=priority)]
        if not mine.standing and collection == view.root:
            found += plan_families(tx, view, self._planner, keys, job=job, priority=priority)
        fates = fates_of_roots(tx, view, *found)
        return fates, sum(1 for one in found for column in one.columns.values() for v in column if v and v.status)


def _by_collection(tx: Transaction, given: Sequence[RecordIn], keys: Sequence[int]) -> dict[int, list[int]]:
    """*keys* of the records *given* by their collection, each once, in order."""
    found: dict[str, dict[int, None]] = {}
    for record, key in zip(given, keys, strict=True):
        found.setdefault(record.collection, {})[key] = None
    return {tx.records.collection(name): list(members) for name, members in found.items()}
