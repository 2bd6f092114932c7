"""A cluster by the minute: engine, database, broker and workers have their limits, and records go through them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
#: Answers that one turn of the engine commits at most.
_GROUP = 64
_GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What one piece of work costs, in seconds of one core, and what it leaves in the store, in bytes."""

    #: To take one record in and plan it: of the engine's process, and of the database's.
    intake_s: float
    intake_database_s: float
    #: To send, commit and follow one result, besides what a task costs however many records it has.
    result_s: float
    result_database_s: float
    task_s: float
    task_database_s: float
    #: What each turn of the engine costs more for every record of a collection that a job is over.
    turn_s_per_record: float
    record_bytes: float
    result_bytes: float
    #: Of the index of ids, in which a new record belongs anywhere.
    id_index_bytes: float


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What there is, and what is to be done with it."""

    records: int
    #: Each record goes through all stages of one pipeline.
    pipelines: int
    stages: int
    #: Records in a task, which is one message there and one back.
    task: int
    #: Workers are as many as would do all of it in so many hours, if nothing else held them up.
    hours: float
    #: Seconds of inferring a record: a log-normal distribution over the stages.
    model_median_s: float = 0.005
    model_sigma: float = 1.2
    #: Engines that lead, each over its own part of the records.
    conductors: int = 1
    #: Parts of each table.
    partitions: int = 1
    #: The database is in the engine's process: SQLite.
    embedded: bool = False
    database_cores: int = 16
    database_memory: float = 64 * _GIGABYTE
    #: One page from the disk, and messages that the broker takes in a second, confirmed.
    read_s: float = 0.0002
    messages_per_s: float = 5_000.0
    #: Records in a second that sources give; without end where it is None.
    arrivals_per_s: float | None = None
    #: Seconds in one step of the simulation.
    step_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Course:
    """What happened, step by step."""

    #: Seconds of one step.
    step_s: float
    #: Records that came, and that were done with all stages, up to the end of each step.
    taken: Numbers
    done: Numbers
    #: Records that stand between two of their stages, or before the first, or whose answer waits for the engine.
    within: Numbers
    #: By station: share of each step for which it was busy; of the workers those of the stage with most to do.
    busy: Mapping[str, Numbers]
    store_bytes: Numbers
    workers: int

    @property
    def hours(self) -> float:
        """How long it took."""
        return len(self.done) * self.step_s / 3600.0

    @property
    def wall(self) -> str:
        """The station that was busiest: the first wall."""
        return max(self.mean_busy, key=lambda name: self.mean_busy[name])

    @property
    def mean_busy(self) -> dict[str, float]:
        """By station: mean share of the time for which it was busy, the last tenth left out, in which work runs dry."""
        most = max(1, int(0.9 * len(self.done)))
        return {name: float(share[:most].mean()) for name, share in self.busy.items()}


@dataclass
class _State:
    """Records by pipeline and stage; the last stage's successor is the end."""

    #: That may be given to workers, and that workers answered and nobody committed.
    waiting: Numbers
    answered: Numbers
    #: By step and stage: share of its time for which its workers were busy.
    worked: list[Numbers] = field(default_factory=list)
    taken: float = 0.0
    done: float = 0.0
    results: float = 0.0


def simulate(costs: Costs, cluster: Cluster, *, seed: int = 1, most_steps: int = 500_000) -> Course:
    """What becomes of all records; with the same *seed* the same."""
    rng = np.random.default_rng(seed)
    shape = (cluster.pipelines, cluster.stages)
    model = rng.lognormal(np.log(cluster.model_median_s), cluster.model_sigma, shape)
    wanted = cluster.records / cluster.pipelines / (cluster.hours * 3600.0)
    workers = np.ceil(wanted * model)
    state = _State(np.zeros(shape), np.zeros(shape))
    rows: list[tuple[float, ...]] = []
    while state.done < cluster.records - 0.5 and len(rows) < most_steps:
        rows.append(_step(state, costs, cluster, model=model, workers=workers, rng=rng))
    taken, done, within, size, engine, database, disk, broker = np.array(rows).T
    worked = np.array(state.worked).reshape(len(rows), -1)
    busiest = worked[:, int(worked.mean(axis=0).argmax())]
    return Course(
        step_s=cluster.step_s,
        taken=taken,
        done=done,
        within=within,
        store_bytes=size,
        busy={"conductor": engine, "database": database, "disk": disk, "broker": broker, "workers": busiest},
        workers=int(workers.sum()),
    )


def _step(
    state: _State, costs: Costs, cluster: Cluster, *, model: Numbers, workers: Numbers, rng: np.random.Generator
) -> tuple[float, ...]:
    """One step: workers answer, the engine commits what it can, and takes records in with the time that is left."""
    # No two minutes of a model are alike: the mean over many tasks varies the less, the more of them there are.
    able = workers * cluster.step_s / model
    noise = rng.normal(1.0, 1.0 / np.sqrt(np.maximum(1.0, able / cluster.task)))
    able = able * np.clip(noise, 0.1, 2.0)
    answers = np.minimum(state.waiting, able)
    state.waiting -= answers
    state.answered += answers
    each = _result_costs(state, costs, cluster)
    room = {"conductor": cluster.conductors, "database": cluster.database_cores, "broker": 1.0}
    share = min(
        1.0, *(room[name] * cluster.step_s / max(1e-12, state.answered.sum() * cost) for name, cost in each.items())
    )
    committed = state.answered * share
    state.answered -= committed
    idle = _gave_up(state, workers, cluster)
    state.worked.append((answers - idle) / able)
    state.waiting[:, 1:] += committed[:, :-1]
    state.done += float(committed[:, -1].sum())
    state.results += float(committed.sum())
    spent = {name: float(committed.sum()) * cost for name, cost in each.items()}
    disk = _take_in(state, costs, cluster, spent=spent)
    return (
        state.taken,
        state.done,
        float(state.waiting.sum() + state.answered.sum()),
        state.taken * costs.record_bytes + state.results * costs.result_bytes,
        spent["conductor"] / (cluster.step_s * room["conductor"]),
        spent["database"] / (cluster.step_s * room["database"]),
        disk / (cluster.step_s * cluster.conductors),
        spent["broker"] / cluster.step_s,
    )


def _result_costs(state: _State, costs: Costs, cluster: Cluster) -> dict[str, float]:
    """Seconds of each station for one result, as large as the store is now."""
    database = costs.result_database_s + costs.task_database_s / cluster.task
    # Of a part of the records only, where there are several conductors or parts of tables.
    held = state.taken / (cluster.conductors * cluster.partitions)
    turn = costs.turn_s_per_record * held / (_GROUP * cluster.task)
    # A conductor waits for its database: one transaction at a time is under way.
    conductor = costs.result_s + costs.task_s / cluster.task + turn + database
    broker = 2.0 / (cluster.task * cluster.messages_per_s)
    return {"conductor": conductor, "database": 0.0 if cluster.embedded else database, "broker": broker}


def _gave_up(state: _State, workers: Numbers, cluster: Cluster) -> Numbers:
    """Take back what workers could not have begun: so many tasks of a stage are handed out, and no more."""
    most = 2.0 * workers * cluster.task
    excess = np.maximum(0.0, state.answered - most)
    state.answered -= excess
    state.waiting += excess
    return excess


def _take_in(state: _State, costs: Costs, cluster: Cluster, *, spent: dict[str, float]) -> float:
    """Take records in with the time that the conductors have left; seconds that they waited for the disk."""
    reads = costs_of_reading(state.taken * costs.id_index_bytes, cluster)
    each = costs.intake_s + costs.intake_database_s + reads
    left = max(0.0, cluster.conductors * cluster.step_s - spent["conductor"])
    come = cluster.records - state.taken
    if cluster.arrivals_per_s is not None:
        come = min(come, cluster.arrivals_per_s * cluster.step_s)
    new = min(come, left / each)
    state.waiting[:, 0] += new / cluster.pipelines
    state.taken += new
    spent["conductor"] += new * each
    spent["database"] += 0.0 if cluster.embedded else new * costs.intake_database_s
    return new * reads


def costs_of_reading(index: float, cluster: Cluster) -> float:
    """Seconds of disk for a new id in an *index* of so many bytes: what memory does not hold is read and written."""
    at_once = index / cluster.partitions
    missing = max(0.0, 1.0 - cluster.database_memory / at_once) if at_once else 0.0
    return 2.0 * missing * cluster.read_s
