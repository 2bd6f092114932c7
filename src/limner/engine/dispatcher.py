"""Dispatcher: moves ready tasks from the store to the bus, bounded, and fair between jobs."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from limner.clock import Clock
from limner.domain.columns import Memo
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Runtime, Task, encode_message
from limner.domain.versions import Version
from limner.engine.assessing import fates_of_roots
from limner.engine.groups import group_inputs, plan_marked
from limner.engine.inputs import Inputs, inputs_of
from limner.engine.planner import Planner
from limner.engine.scopes import Scope
from limner.engine.subjects import Loaded, load
from limner.engine.views import View
from limner.store.store import Transaction
from limner.store.tasks import StoredTask, Tally

#: Tasks of an implementation that are handed out at a time for each far worker that serves it: one in work, one ahead.
_FOR_EACH_WORKER = 2


class Envelope(Struct, frozen=True, kw_only=True):
    """A task on its way to the bus."""

    topic: str
    task: int
    body: bytes


def address_of(view: View, node: Node) -> str:
    """The topic of a node's tasks: ``pipeline.stage/implementation``."""
    return f"{view.pipeline.name}.{node.stage.name}/{node.implementation}"


def runtime_of(view: View, node: Node, version: Version) -> Runtime:
    """All that a worker needs in order to run a version of a node."""
    stage = node.stage
    return Runtime(
        address=address_of(view, node),
        infer=stage.chosen(node.implementation).infer,
        kind=stage.kind,
        params=version.params,
        model=version.model,
        reads={source.name: source.read.file for source in node.sources},
        outputs=stage.outputs,
        batch=stage.batch_of(node.implementation),
        timeout=stage.timeout_of(node.implementation),
        isolation=stage.isolation,
        memory_mb=stage.memory_mb,
        identity=stage.identity,
    )


class Dispatcher:
    """Sends what is ready."""

    def __init__(self, *, planner: Planner, clock: Clock, lease: timedelta, in_flight: int, memo: Memo) -> None:
        self._planner = planner
        self._clock = clock
        self._memo = memo
        self._lease = lease.total_seconds()
        self._in_flight = in_flight
        self._versions: dict[int, Version] = {}
        self._turn: dict[int, int] = {}

    def dispatch(self, tx: Transaction, scopes: Sequence[Scope]) -> list[Envelope]:
        """Mark ready tasks as sent, as many of each node as may be in flight; publish them after the commit."""
        backlog = tx.tasks.backlog()
        if not backlog:
            return []
        flying = tx.tasks.in_flight()
        serving = tx.workers.serving(now=self._clock.now())
        places = {node.pk: (scope, node) for scope in reversed(scopes) for node in scope.view.nodes}
        urgency = {job: urgent for scope in scopes for job, urgent in scope.jobs.items()}
        sent: list[tuple[int, float]] = []
        envelopes: list[Envelope] = []
        for pk, (scope, node) in places.items():
            jobs = _by_urgency([job for at, job in backlog if at == pk], urgency)
            far = serving.get(address_of(scope.view, node))
            most = self._in_flight + (_FOR_EACH_WORKER * far.live if far else 0)
            tasks = self._choose(tx, pk, jobs, room=most - flying.get(pk, 0))
            loaded = _loaded(tx, scope.view, node, tasks)
            for task in tasks:
                envelope = self._envelope(tx, scope, node, task, loaded)
                if envelope is not None:
                    sent.append((task.pk, self._clock.now() + self._lease))
                    envelopes.append(envelope)
        tx.tasks.send(sent)
        return envelopes

    def _choose(
        self, tx: Transaction, node: int, jobs: Sequence[Sequence[str | None]], *, room: int
    ) -> list[StoredTask]:
        """
        The next tasks of a node: those of urgent *jobs* first.

        Equally urgent jobs have their turns, so that a small one is not starved by a big one.
        """
        now = self._clock.now()
        chosen: list[StoredTask] = []
        for equals in jobs:
            left = room - len(chosen)
            if left <= 0:
                break
            waiting = [tx.tasks.ready(node=node, job=job, now=now, limit=left) for job in equals]
            turn = self._turn.get(node, 0)
            while len(chosen) < room and any(waiting):
                queue = waiting[turn % len(waiting)]
                turn += 1
                if queue:
                    chosen.append(queue.pop(0))
            self._turn[node] = turn
        return chosen

    def _envelope(self, tx: Transaction, scope: Scope, node: Node, task: StoredTask, loaded: Loaded) -> Envelope | None:
        """The message of a task; None where nothing of it is left to do, and then it has ended."""
        view = scope.view
        if task.version != node.version:
            self._plan_anew(tx, scope, node, task)
            return None
        fresh = task.tried > 0
        inputs = (
            group_inputs(tx, scope, node, task.keys)
            if node.stage.kind is StageKind.GATHER
            else inputs_of(tx, view, node, task.keys, fresh=fresh, memo=self._memo, loaded=loaded)
        )
        if inputs.dropped:
            tx.tasks.tally([Tally(pk=task.pk, open=inputs.keys, ended=not inputs.keys, back=True)])
        if not inputs.keys:
            return None
        body = encode_message(self._message(tx, view, node, task, inputs))
        return Envelope(topic=address_of(view, node), task=task.pk, body=body)

    def _plan_anew(self, tx: Transaction, scope: Scope, node: Node, task: StoredTask) -> None:
        """Replace a task of a version that is not served any more: whoever waits for it waits for the new one."""
        view, keys = scope.view, task.keys
        tx.tasks.drop([task.pk])
        if node.stage.kind is StageKind.GATHER:
            tx.groups.mark(node.pk, keys, job=task.job)
            plan_marked(tx, scope, self._planner)
            return
        found = self._planner.plan(tx, view, view.collections[node.collection], keys, job=task.job)
        scope.settle(tx, fates_of_roots(tx, view, found))

    def _message(self, tx: Transaction, view: View, node: Node, task: StoredTask, inputs: Inputs) -> Task:
        version = self._version(tx, task.version)
        prior = tx.results.reads(inputs.known, node=task.node, version=task.version) if inputs.known else {}
        return Task(
            id=task.pk,
            attempt=task.attempt + 1,
            runtime=runtime_of(view, node, version),
            version=version.digest,
            records=inputs.ids,
            keys=inputs.keys,
            columns=inputs.columns,
            prior=[prior.get(key, b"") for key in inputs.keys],
            asked=inputs.asked,
            lease=self._lease,
        )

    def _version(self, tx: Transaction, pk: int) -> Version:
        if pk not in self._versions:
            self._versions[pk] = tx.nodes.versions([pk])[pk].version
        return self._versions[pk]


def _loaded(tx: Transaction, view: View, node: Node, tasks: Sequence[StoredTask]) -> Loaded:
    """The records of all these tasks at once; a gather loads its own members."""
    served = [] if node.stage.kind is StageKind.GATHER else [task for task in tasks if task.version == node.version]
    return load(tx, view, [key for task in served for key in task.keys], all_of_them=True)


def _by_urgency(jobs: Sequence[str | None], urgency: Mapping[str, int]) -> list[list[str | None]]:
    """*jobs* by their priority, the highest first; work whose job has ended comes last."""
    places = {job: place for place, job in enumerate(urgency)}
    groups: dict[tuple[bool, int], list[str | None]] = {}
    for job in sorted(jobs, key=lambda job: places.get(job or "", len(places))):
        name = job or ""
        groups.setdefault((name in urgency, urgency.get(name, 0)), []).append(job)
    return [groups[place] for place in sorted(groups, reverse=True)]
