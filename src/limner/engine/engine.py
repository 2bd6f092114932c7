"""The engine: a loop that commits answers, ends jobs and sends what is ready."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import structlog

from limner.bus.base import Bus, Delivery
from limner.clock import Clock
from limner.domain.columns import Memo
from limner.domain.pipelines import Pipeline
from limner.domain.tasks import ANSWERS, Answer, FromWorker, Heartbeat, Released, decode_from_worker
from limner.engine.conductor import Conductor
from limner.engine.desk import Desk
from limner.engine.dispatcher import Dispatcher, Envelope, address_of
from limner.engine.intake import Intake
from limner.engine.passes import Pass
from limner.engine.planner import Planner
from limner.engine.receipts import Receipt, receipts_after, stand_before
from limner.engine.scopes import Scope
from limner.engine.upkeep import Upkeep
from limner.engine.views import View, resolve
from limner.errors import BusUnavailable, LimnerError, UsageError
from limner.store.store import Store, Transaction

_log = structlog.get_logger(__name__)

#: Messages committed in one transaction.
_GROUP = 64
#: Seconds between two looks for leases that ran out.
_UPKEEP = 1.0


class Engine:
    """Keeps what is wanted and what is current together; one process at a time runs its loop."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        clock: Clock,
        pipelines: Mapping[str, Pipeline],
        lease: timedelta,
        in_flight: int,
    ) -> None:
        self.store = store
        self.pipelines = dict(pipelines)
        self._bus = bus
        self._clock = clock
        memo = Memo()
        self.planner = Planner(clock=clock, memo=memo)
        self.desk = Desk(planner=self.planner, clock=clock)
        self.intake = Intake(planner=self.planner, clock=clock)
        self.passes = Pass(store=store, planner=self.planner, clock=clock)
        self._conductor = Conductor(planner=self.planner, clock=clock)
        self._dispatcher = Dispatcher(planner=self.planner, clock=clock, lease=lease, in_flight=in_flight, memo=memo)
        self._upkeep = Upkeep(clock=clock, lease=lease, bus=bus)
        self._views: dict[str, tuple[object, View]] = {}
        self._lease = lease.total_seconds()
        self._next_upkeep = 0.0
        #: Tasks that were sent since it was made.
        self.sent = 0

    def start(self) -> None:
        """
        Take over the store: what an earlier process had sent is lost with its bus, and is sent again.

        On a bus that outlives a process it is still there, and so are those who hold it: they are given a lease more.
        """
        with self.store.transaction() as tx:
            if self._bus.shared:
                tx.tasks.prolong(until=self._clock.now() + self._lease)
            else:
                tx.tasks.unsend_abandoned(now=self._clock.now())
            self._drop_unseen(tx)

    def _drop_unseen(self, tx: Transaction) -> None:
        """Drop the tasks of nodes that nobody looks through any more: the declaration has changed since."""
        seen = {node.pk for scope in self.scopes(tx) for node in scope.view.nodes}
        unseen = [node.pk for node in tx.nodes.all() if node.pipeline in self.pipelines and node.pk not in seen]
        if unseen:
            dropped = tx.tasks.open_of(nodes=unseen)
            tx.tasks.drop([task.pk for task in dropped])
            tx.nodes.needs_pass(sorted({task.node for task in dropped}))

    def scopes(self, tx: Transaction) -> list[Scope]:
        """
        The default views of the pipelines, and the choices of open jobs; those of urgent jobs first.

        A job whose choices the pipeline does not offer any more looks through none.
        """
        state = tuple((node.pk, node.active, node.retired) for node in tx.nodes.all())
        jobs: dict[str, tuple[View, dict[str, int]]] = {}
        for job in tx.jobs.open():
            if job.pipeline in self.pipelines:
                try:
                    view = self.view(tx, job.pipeline, dict(job.choices), state=state)
                except UsageError:
                    continue
                jobs.setdefault(repr(view.key), (view, {}))[1][job.id] = job.priority
        found = []
        for name, pipeline in self.pipelines.items():
            view = self.view(tx, name, {}, state=state)
            _, mine = jobs.pop(repr(view.key), (view, {}))
            if pipeline.standing or mine:
                found.append(Scope(view=view, standing=pipeline.standing, jobs=mine))
        return [*found, *(Scope(view=view, standing=False, jobs=mine) for view, mine in jobs.values())]

    def view(self, tx: Transaction, name: str, choices: Mapping[str, list[str]], *, state: object = None) -> View:
        """The view of a pipeline with some choices, resolved again only when a node moved."""
        if state is None:
            state = tuple((node.pk, node.active, node.retired) for node in tx.nodes.all())
        # The order of the choices may be the order of the steps.
        key = f"{name} {list(choices.items())}"
        if key not in self._views or self._views[key][0] != state:
            view = resolve(tx, self.pipelines[name], choices=choices)
            self._views[key] = (state, view)
        return self._views[key][1]

    def scope(self, tx: Transaction, name: str, choices: Mapping[str, list[str]]) -> Scope:
        """The scope through which a job with these choices looks, open jobs included."""
        wanted = self.view(tx, name, choices).key
        for scope in self.scopes(tx):
            if scope.view.key == wanted:
                return scope
        return Scope(view=self.view(tx, name, choices), standing=False, jobs={})

    def topics(self, tx: Transaction) -> list[str]:
        """The topics of all nodes at work."""
        return sorted({address_of(scope.view, node) for scope in self.scopes(tx) for node in scope.view.nodes})

    def step(self, *, wait: timedelta = timedelta()) -> bool:
        """Commit the answers that came, at the latest after *wait*, and send what is ready; whether anything moved."""
        return self.turn(self.waiting(wait=wait))

    def waiting(self, *, wait: timedelta = timedelta()) -> list[Delivery]:
        """The answers that came on the bus, at the latest after *wait*: what the next turn is given."""
        return self._bus.take([ANSWERS], limit=_GROUP, wait=wait)

    def turn(self, deliveries: list[Delivery]) -> bool:
        """
        Commit the answers in *deliveries*, and send what is ready; whether anything moved.

        An answer that cannot be committed is dropped, so that it holds up no other; its lease sees to its records.
        """
        envelopes: list[Envelope] = []
        with self._given_back_unless_committed(deliveries):
            try:
                moved = self._turned(deliveries, envelopes)
            except LimnerError:
                raise
            except Exception:
                if not deliveries:
                    raise
                # Breaks again where it is not the answers' fault, and then they are kept.
                moved = self._turned([], envelopes)
                for delivery in deliveries:
                    moved |= self._turned_alone(delivery, envelopes)
        self._bus.acknowledge(deliveries)
        self._publish(envelopes)
        return moved

    def _turned_alone(self, delivery: Delivery, envelopes: list[Envelope]) -> bool:
        try:
            return self._turned([delivery], envelopes)
        except LimnerError:
            raise
        except Exception:  # noqa: BLE001  whatever is wrong with it, the others are not to wait for ever
            _log.exception("answer_dropped", size=len(delivery.body))
            return True

    def _turned(self, deliveries: Sequence[Delivery], envelopes: list[Envelope]) -> bool:
        """Commit the answers in one transaction; appends what is to be sent after it."""
        with self.store.transaction() as tx:
            scopes = self.scopes(tx)
            self._commit(tx, scopes, [decode_from_worker(delivery.body) for delivery in deliveries])
            found = self._dispatcher.dispatch(tx, scopes)
            # After the dispatch, which may find that nothing is left of a task.
            ended = self.desk.end(tx, scopes)
        envelopes += found
        return bool(deliveries or found or ended)

    def answer(self, messages: Sequence[FromWorker]) -> list[Receipt]:
        """
        Commit what workers say without a bus between, and send what is ready; what became of each answer, in order.

        Heartbeats and releases are committed with them and have no receipt.
        """
        answers = [message for message in messages if isinstance(message, Answer)]
        with self.store.transaction() as tx:
            scopes = self.scopes(tx)
            before = stand_before(tx, answers)
            self._commit(tx, scopes, messages)
            receipts = receipts_after(tx, answers, before)
            envelopes = self._dispatcher.dispatch(tx, scopes)
            self.desk.end(tx, scopes)
        try:
            self._publish(envelopes)
        except BusUnavailable as error:
            # What was said is committed all the same; the loop sends the tasks when the bus is back.
            _log.warning("bus_unavailable", reason=str(error))
        return receipts

    def _publish(self, envelopes: Sequence[Envelope]) -> None:
        """
        Send tasks; those that the bus does not take are ready again, as if they had never been sent.

        Raises:
            BusUnavailable: the bus cannot be reached.
        """
        by_topic: dict[str, list[Envelope]] = {}
        for envelope in envelopes:
            by_topic.setdefault(envelope.topic, []).append(envelope)
        left = list(by_topic)
        try:
            for topic, chosen in by_topic.items():
                self._bus.publish(topic, [envelope.body for envelope in chosen])
                self.sent += len(chosen)
                left.remove(topic)
        except BusUnavailable:
            with self.store.transaction() as tx:
                tx.tasks.unsend([envelope.task for topic in left for envelope in by_topic[topic]])
            raise

    def finish(self) -> None:
        """Commit what workers that have stopped by now answered and gave back; sends nothing more."""
        while deliveries := self._bus.take([ANSWERS], limit=_GROUP):
            with self._given_back_unless_committed(deliveries), self.store.transaction() as tx:
                scopes = self.scopes(tx)
                self._commit(tx, scopes, [decode_from_worker(delivery.body) for delivery in deliveries])
                self.desk.end(tx, scopes)
            self._bus.acknowledge(deliveries)

    @contextmanager
    def _given_back_unless_committed(self, deliveries: list[Delivery]) -> Iterator[None]:
        """Whatever ends the block early, Ctrl-C included, the answers are there for the next one who looks."""
        try:
            yield
        except BaseException:
            self._bus.release(deliveries)
            raise

    def _commit(self, tx: Transaction, scopes: list[Scope], messages: Sequence[FromWorker]) -> None:
        """Take heartbeats and releases, commit answers, and do the upkeep when its time has come."""
        self._upkeep.heartbeat(tx, [message for message in messages if isinstance(message, Heartbeat)])
        answers = [message for message in messages if isinstance(message, Answer)]
        answers += self._upkeep.released(tx, scopes, [m for m in messages if isinstance(m, Released)])
        now = self._clock.now()
        # Due at once where the clock was set back, too: the moment that was noted may be far away by now.
        if not 0.0 < self._next_upkeep - now <= _UPKEEP:
            self._next_upkeep = now + _UPKEEP
            answers += self._upkeep.expire(tx, scopes)
        if answers:
            self._conductor.commit(tx, scopes, answers)
