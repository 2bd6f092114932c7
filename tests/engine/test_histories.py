"""Whatever happens on the way, what stands in the end is what a computation from scratch would give."""

from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

import limner
from limner.domain.jobs import Counts
from limner.domain.pipelines import Pipeline
from limner.domain.records import RecordIn
from limner.domain.tasks import ANSWERS
from limner.errors import UsageError
from limner.store.store import Store
from tests.engine.lab import Lab, record, toy

Told: TypeAlias = object


class Step(Struct, frozen=True):
    """One stage of a random pipeline: the sum of what it reads, halved, refused above a limit, under a condition."""

    #: Fields ``x``, ``y`` and earlier stages.
    reads: tuple[str, ...]
    add: int
    #: Refuses sums from here on.
    least: int
    #: Runs only where this field or stage is not above 3.
    when: str | None
    optional: bool
    required: bool


class Shape(Struct, frozen=True):
    """A random pipeline, and how each stage's version moved: what counts (*adds*) and what does not (*salts*)."""

    steps: tuple[Step, ...]
    adds: tuple[int, ...]
    salts: tuple[int, ...]

    def pipeline(self) -> Pipeline:
        """The declaration."""
        stages = []
        for number, step in enumerate(self.steps):
            reads = {f"r{at}": _path(name) for at, name in enumerate(step.reads)}
            stages.append(
                limner.Stage(
                    f"s{number}",
                    toy("Sum"),
                    reads={k: limner.optional(p) if step.optional else p for k, p in reads.items()},
                    params={
                        "add": step.add + self.adds[number],
                        "least": step.least,
                        "salt": self.salts[number],
                    },
                    when=limner.where(_path(step.when), "<=", 3, reason="large") if step.when else (),
                    required=step.required,
                    batch=2,
                    task_size=3,
                )
            )
        return limner.Pipeline("p", collection="things", stages=stages)

    def expected(self, fields: dict[str, int]) -> dict[str, Told]:
        """What every stage says of a record with these fields, worked out from scratch."""
        found: dict[str, Told] = {}
        for number, step in enumerate(self.steps):
            found[f"s{number}"] = self._one(number, step, fields, found)
        return found

    def _one(self, number: int, step: Step, fields: dict[str, int], found: dict[str, Told]) -> Told:
        numbers = []
        for name in step.reads:
            value = _value(name, fields, found)
            if value is None and not step.optional:
                return _missing(name, found)
            numbers.append(value or 0)
        if step.when is not None:
            compared = _value(step.when, fields, found)
            if compared is None or compared > 3:
                return ("skipped", "large")
        total = sum(numbers)
        if total >= step.least:
            return ("failed", "MODEL_ERROR", None)
        return {"value": (total + step.add + self.adds[number]) // 2}


def _path(name: str) -> str:
    return name if name in "xy" else f"{name}.value"


def _value(name: str, fields: dict[str, int], found: dict[str, Told]) -> int | None:
    if name in "xy":
        return fields.get(name)
    said = found[name]
    return said["value"] if isinstance(said, dict) else None


def _missing(name: str, found: dict[str, Told]) -> Told:
    if name in "xy":
        return ("skipped", f"no_{name}")
    said = found[name]
    assert isinstance(said, tuple)
    return ("failed", "UPSTREAM_FAILED", name) if said[0] == "failed" else ("skipped", f"upstream {name} skipped")


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    """Two to five stages, each reading fields and stages before it."""
    made: list[Step] = []
    for number in range(draw(st.integers(2, 5))):
        names = ["x", "y", *(f"s{before}" for before in range(number))]
        made.append(
            Step(
                reads=tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))),
                add=draw(st.integers(0, 1)),
                least=draw(st.sampled_from([4, 8, 100, 100])),
                when=draw(st.one_of(st.none(), st.none(), st.sampled_from(names))),
                optional=draw(st.booleans()),
                required=draw(st.booleans()),
            )
        )
    return tuple(made)


FIELDS = st.dictionaries(st.sampled_from("xy"), st.integers(0, 9), max_size=2)
IDS = st.sampled_from("abcdef")
GIVEN = st.lists(st.tuples(IDS, FIELDS, st.integers(0, 3)), min_size=1, max_size=5)
MOVES = st.one_of(
    st.tuples(st.just("records"), GIVEN),
    st.tuples(st.just("add"), st.integers(0, 4)),
    st.tuples(st.just("salt"), st.integers(0, 4)),
    st.tuples(st.just("back"), st.just(0)),
    st.tuples(st.just("run"), st.just(0)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("work"), st.integers(1, 3)),
    st.tuples(st.just("drop"), st.integers(1, 3)),
    st.tuples(st.just("repeat"), st.booleans()),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("retry"), st.integers(0, 9)),
)


class History:
    """A lab to which things happen, and what a user would know without it."""

    def __init__(self, shape: Shape, *, store: Store | None = None) -> None:
        self.shapes = [shape]
        self.lab = Lab(shape.pipeline(), store=store, in_flight=2)
        #: Fields and source version of each record.
        self.records: dict[str, tuple[dict[str, int], int]] = {}
        self.jobs: list[str] = []
        self.progress: dict[str, tuple[int, int]] = {}

    def happen(self, move: str, argument: object) -> None:
        """Do one thing, then look at every job."""
        getattr(self, f"_{move}")(argument)
        self.look()

    def look(self) -> None:
        """Counts add up in every read, and no job's progress falls in one round of it."""
        for identity in self.jobs:
            job, counts = self.lab.job(identity), self.lab.counts(identity)
            ended = counts.records - counts.open
            assert counts == Counts(
                records=counts.open + counts.done + counts.failed + counts.skipped + counts.cancelled,
                open=counts.open,
                done=counts.done,
                failed=counts.failed,
                skipped=counts.skipped,
                cancelled=counts.cancelled,
            )
            round_before, before = self.progress.get(identity, (job.round, 0))
            assert job.round > round_before or ended >= before
            self.progress[identity] = (job.round, ended)

    def finish(self) -> None:
        """Run once more and let everything come to rest."""
        if self.records:
            self.jobs.append(self.lab.open())
        self.lab.drain()
        self.look()

    def _records(self, given: list[tuple[str, dict[str, int], int]]) -> None:
        page: list[RecordIn] = []
        for identity, fields, version in given:
            page.append(record(identity, fields=fields, source_version=version))
            if identity not in self.records or version >= self.records[identity][1]:
                self.records[identity] = (fields, version)
        self.jobs.append(self.lab.open(page, page=2))

    def _moved(self, kind: str, number: int) -> None:
        shape = self.shapes[-1]
        at = number % len(shape.steps)
        adds, salts = list(shape.adds), list(shape.salts)
        (adds if kind == "add" else salts)[at] += 1
        self._become(Shape(shape.steps, tuple(adds), tuple(salts)))

    def _become(self, shape: Shape) -> None:
        self.shapes.append(shape)
        self.lab.declare(shape.pipeline())
        if self.records:
            self.jobs.append(self.lab.open())

    def _add(self, number: int) -> None:
        self._moved("add", number)

    def _salt(self, number: int) -> None:
        self._moved("salt", number)

    def _back(self, _: object) -> None:
        if len(self.shapes) > 1:
            self._become(self.shapes[-2])

    def _run(self, _: object) -> None:
        if self.records:
            self.jobs.append(self.lab.open())

    def _step(self, times: int) -> None:
        for _ in range(times):
            self.lab.step()

    def _work(self, limit: int) -> None:
        self.lab.work(limit=limit)

    def _drop(self, limit: int) -> None:
        """Lose what waits on the bus, as a purged queue does; a lease that runs out sends it again."""
        for topic in [*self.lab.topics(), ANSWERS]:
            self.lab.bus.acknowledge(self.lab.bus.take([topic], limit=limit))
        self.lab.lapse()

    def _repeat(self, backwards: bool) -> None:
        for topic in [*self.lab.topics(), ANSWERS]:
            waiting = self.lab.bus.take([topic], limit=100)
            bodies = [delivery.body for delivery in waiting]
            self.lab.bus.acknowledge(waiting)
            self.lab.bus.publish(topic, [*(reversed(bodies) if backwards else bodies), *bodies[:2]])

    def _restart(self, _: object) -> None:
        self.lab.restart()

    def _cancel(self, number: int) -> None:
        working = [job for job in self.jobs if not self.lab.job(job).state.ended]
        if working:
            self.lab.cancel(working[number % len(working)])

    def _retry(self, number: int) -> None:
        ended = [job for job in self.jobs if self.lab.job(job).state.ended]
        if ended:
            job = ended[number % len(ended)]
            try:
                self.lab.retry(job)
            except UsageError:
                counts = self.lab.counts(job)
                assert counts.failed + counts.cancelled == 0


def judge(
    drawn: tuple[Step, ...],
    first: list[tuple[str, dict[str, int], int]],
    moves: list[tuple[str, object]],
    *,
    store: Store | None = None,
) -> None:
    """Let a history happen, and compare what stands then with a computation from scratch."""
    history = History(Shape(drawn, (0,) * len(drawn), (0,) * len(drawn)), store=store)
    history.happen("records", first)
    for move, argument in moves:
        history.happen(move, argument)

    history.finish()

    lab, shape = history.lab, history.shapes[-1]
    found = {name: lab.values(name) for name in (f"s{n}" for n in range(len(drawn)))}
    expected = {identity: shape.expected(fields) for identity, (fields, _) in history.records.items()}
    assert found == {name: {identity: said[name] for identity, said in expected.items()} for name in found}
    assert lab.unsound() == []
    assert all(lab.job(job).state.ended for job in history.jobs)
    lab.inferred()
    again = lab.run()
    assert (again.inferred, lab.inferred()) == (0, {})
    assert _standing(lab) == _fates(expected, shape)


@settings(max_examples=24, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(steps(), GIVEN, st.lists(MOVES, max_size=12))
def test_what_stands_is_what_a_computation_from_scratch_gives(
    drawn: tuple[Step, ...], first: list[tuple[str, dict[str, int], int]], moves: list[tuple[str, object]]
) -> None:
    """After any history every value is right, every job has ended, and another full run infers nothing."""
    judge(drawn, first, moves)


@settings(max_examples=10)
@given(steps(), st.dictionaries(IDS, FIELDS, min_size=1), st.lists(st.integers(1, 6), max_size=4))
def test_restarts_cost_no_more_than_what_was_in_flight(
    drawn: tuple[Step, ...], given_: dict[str, dict[str, int]], restarts: list[int]
) -> None:
    """Nothing is inferred twice but what a worker had in its hands when a process died."""
    shape = Shape(drawn, (0,) * len(drawn), (0,) * len(drawn))
    lab = Lab(shape.pipeline(), in_flight=2)
    lab.open([record(identity, fields=fields) for identity, fields in given_.items()])
    inferred, lost = 0, 0
    for rounds in restarts:
        for _ in range(rounds):
            lab.step()
            lab.work(limit=2)
        with lab.store.reading() as tx:
            lost += sum(len(task.keys) for task in tx.tasks.open_of() if task.state == 1)
        inferred += sum(lab.inferred().values())
        lab.restart()
        lab.forget()

    lab.drain()

    needed = sum(
        1
        for fields in given_.values()
        for said in shape.expected(fields).values()
        if isinstance(said, dict) or (isinstance(said, tuple) and said[:2] == ("failed", "MODEL_ERROR"))
    )
    inferred += sum(lab.inferred().values())
    assert needed <= inferred <= needed + lost


@settings(max_examples=10)
@given(steps(), st.dictionaries(IDS, FIELDS, min_size=1), st.dictionaries(IDS, FIELDS), st.integers(0, 4))
def test_plan_names_what_the_run_infers(
    drawn: tuple[Step, ...], before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], moved: int
) -> None:
    """Where nothing fails, a run infers at least what the plan calls stale, at most that and what is possible."""
    plain = tuple(Step(s.reads, s.add, 100, None, False, True) for s in drawn)
    shape = Shape(plain, (0,) * len(plain), (0,) * len(plain))
    lab = Lab(shape.pipeline())
    lab.run([record(identity, x=1, y=1) for identity in before])
    lab.inferred()
    adds = [0] * len(plain)
    adds[moved % len(plain)] = 2 if after else 0
    lab.declare(Shape(plain, tuple(adds), (0,) * len(plain)).pipeline())

    planned = lab.plan()
    lab.run()

    inferred = lab.inferred()
    for name, stage in planned.stages.items():
        assert stage.stale <= inferred.get(name, 0) <= stage.stale + stage.possible
        assert sum(stage.reasons.values()) == stage.stale
    assert lab.plan().stale == 0


def _standing(lab: Lab) -> tuple[int, int, int, int]:
    counts = lab.counts("p")
    return counts.open, counts.done, counts.failed, counts.skipped


def _fates(expected: dict[str, dict[str, Told]], shape: Shape) -> tuple[int, int, int, int]:
    """Open, done, failed and skipped records by what the required stages say."""
    required = [f"s{number}" for number, step in enumerate(shape.steps) if step.required]
    done = failed = skipped = 0
    for said in expected.values():
        kinds = [one[0] if isinstance(one := said[name], tuple) else "done" for name in required]
        if "failed" in kinds:
            failed += 1
        elif kinds and set(kinds) == {"skipped"}:
            skipped += 1
        else:
            done += 1
    return 0, done, failed, skipped
