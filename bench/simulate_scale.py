"""A hundred million records by what growth.json measured: the first wall and what moves it; writes SCALE.md."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scale_model import Cluster, Costs, Course, simulate
from scale_report import write_report

HERE = Path(__file__).resolve().parent
#: Points of each course that are written down.
_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One cluster, on what database its costs were measured, and whether Limner can be run so today."""

    name: str
    database: str
    cluster: Cluster
    built: bool


def scenarios(base: Cluster) -> list[Scenario]:
    """What is compared; each differs in what its name says from the one that it begins with."""
    postgresql, one = replace(base), replace(base, embedded=True)
    sharded = replace(base, conductors=4, partitions=16)
    many = replace(base, conductors=16, partitions=64)

    def on_postgresql(name: str, cluster: Cluster, *, built: bool) -> Scenario:
        return Scenario(name=name, database="postgresql", cluster=cluster, built=built)

    return [
        Scenario(name="SQLite", database="sqlite", cluster=one, built=True),
        on_postgresql("PostgreSQL", postgresql, built=True),
        on_postgresql("PostgreSQL, a record a message", replace(base, task=1, step_s=600.0), built=True),
        on_postgresql("PostgreSQL, 16 records a message", replace(base, task=16, step_s=120.0), built=True),
        on_postgresql("PostgreSQL, 4 GB of memory", replace(base, database_memory=4e9), built=True),
        on_postgresql("the same, tables in 16 parts", replace(base, database_memory=4e9, partitions=16), built=False),
        # Each has a conductor of its own, on a schema of its own: what a conductor for each collection would be.
        on_postgresql("collections in 4 projects, a server each", replace(base, conductors=4), built=True),
        on_postgresql("4 conductors by hash, 16 parts, workers for 6 h", replace(sharded, hours=6.0), built=False),
        on_postgresql("16 conductors by hash, 64 parts, workers for 2 h", replace(many, hours=2.0), built=False),
    ]


def costs_of(measured: Sequence[Mapping[str, Any]]) -> Costs:
    """The costs on one database: those of the largest store that was *measured*, and how they grew up to it."""
    largest = max(measured, key=lambda one: one["records"])
    batch = 1_000.0
    of_engine, of_database = ({t: _worked(largest, t, part) for t in (512, 16)} for part in ("cpu_s", "database_s"))
    engine, database = _split(of_engine), _split(of_database)
    intake = largest["new_in_tasks_of_512"]["intake"]
    return Costs(
        intake_s=intake["cpu_s"] / batch,
        intake_database_s=intake["database_s"] / batch,
        result_s=engine[0],
        result_database_s=database[0],
        task_s=engine[1],
        task_database_s=database[1],
        turn_s_per_record=slope(measured, lambda one: _spent(one["turn_with_such_a_job"]))
        + slope(measured, lambda one: _spent(one["changed_old"]["middle"])),
        record_bytes=largest["bytes_per_record"],
        result_bytes=largest["bytes_per_result"],
        id_index_bytes=_id_index(largest["bytes"]) / largest["records"],
    )


def slope(measured: Sequence[Mapping[str, Any]], figure: Callable[[Mapping[str, Any]], float]) -> float:
    """By how much a figure grows for each record of the store, by least squares; what falls does not grow."""
    if len(measured) < 2:
        return 0.0
    sizes = np.array([float(one["records"]) for one in measured])
    return max(0.0, float(np.polyfit(sizes, np.array([figure(one) for one in measured]), 1)[0]))


def _spent(cost: Mapping[str, float]) -> float:
    return cost["cpu_s"] + cost["database_s"]


def _worked(one: Mapping[str, Any], task: int, part: str) -> float:
    """Seconds for one result, in tasks of so many records: a thousand records went through two stages."""
    pieces = one[f"new_in_tasks_of_{task}"]
    return float(sum(pieces[name][part] for name in ("first", "middle", "last")) / 2_000.0)


def _split(seconds: Mapping[int, float]) -> tuple[float, float]:
    """What a result costs, and what a task does: 2 tasks of a thousand records at 512, 63 at 16."""
    tasks = {size: -(-1_000 // size) / 1_000.0 for size in seconds}
    few, many = max(seconds), min(seconds)
    task = max(0.0, (seconds[many] - seconds[few]) / (tasks[many] - tasks[few]))
    return max(0.0, seconds[few] - task * tasks[few]), task


def _id_index(sizes: Mapping[str, int]) -> int:
    return next(
        (sizes[name] for name in ("sqlite_autoindex_records_1", "records_id_collection_key") if name in sizes), 0
    )


def told(course: Course) -> dict[str, Any]:
    """A course in figures, and as a line of few points."""
    at = np.unique(np.geomspace(1, len(course.done), _POINTS).astype(int)) - 1
    return {
        "hours": round(course.hours, 2),
        "wall": course.wall,
        "busy": {name: round(share, 4) for name, share in course.mean_busy.items()},
        "workers": course.workers,
        "store_gb": round(float(course.store_bytes[-1]) / 1e9, 1),
        "at_hours": [round(float(one + 1) * course.step_s / 3600, 3) for one in at],
        "done_millions": [round(float(course.done[one]) / 1e6, 3) for one in at],
    }


def main() -> None:
    """Simulate every scenario and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000_000)
    parser.add_argument("--pipelines", type=int, default=20)
    parser.add_argument("--stages", type=int, default=10, help="Of each pipeline.")
    parser.add_argument("--hours", type=float, default=24.0, help="In which the workers alone would be done.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measured", type=Path, default=HERE / "growth.json")
    parser.add_argument("--into", type=Path, default=HERE, help="Folder of scale.json and SCALE.md.")
    asked = parser.parse_args()
    runs = json.loads(asked.measured.read_text())["runs"]
    base = Cluster(records=asked.records, pipelines=asked.pipelines, stages=asked.stages, task=512, hours=asked.hours)
    costs = {database: costs_of(measured) for database, measured in runs.items()}
    found = []
    for scenario in scenarios(base):
        if scenario.database in costs:
            course = simulate(costs[scenario.database], scenario.cluster, seed=asked.seed)
            found.append({**asdict(scenario), **told(course)})
    said = {"seed": asked.seed, "costs": {name: asdict(one) for name, one in costs.items()}, "scenarios": found}
    (asked.into / "scale.json").write_text(json.dumps(said, indent=1) + "\n")
    write_report(asked.into / "SCALE.md", runs=runs, simulated=said)
    for one in found:
        print(f"{one['name']}: {one['hours']} h, {one['wall']} busy {one['busy'][one['wall']]:.0%}")


if __name__ == "__main__":
    main()
