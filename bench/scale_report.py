"""From the figures of growth and simulation to SCALE.md."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD = """# How a store grows, and a simulation of a hundred million records

Written by `bench/simulate_scale.py` from what `bench/growth.py` measured; [how to read this](../docs/scale.md).
"""
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_STATIONS = ("conductor", "database", "disk", "broker", "workers")


def write_report(file: Path, *, runs: Mapping[str, Sequence[Mapping[str, Any]]], simulated: Mapping[str, Any]) -> None:
    """Write all tables into *file*."""
    parts = [_HEAD]
    for database, measured in runs.items():
        parts += [f"\n## {_NAMES[database]}, as measured\n\n", _told_machine(measured), _measured(measured)]
        parts += [f"\n### {_NAMES[database]}: bytes of the largest store\n\n", _bytes(measured[-1])]
    parts += ["\n## The simulation\n\n", _told_costs(simulated), _simulated(simulated["scenarios"])]
    file.write_text("".join(parts))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _told_machine(measured: Sequence[Mapping[str, Any]]) -> str:
    one = measured[-1]["machine"]
    loads = [float(size["load"]) for size in measured]
    return (
        f"On {one['date']}: {one['processor']}, {one['cores']} cores, {one['memory_gb']} GB, {one['system']}, "
        f"Python {one['python']}, SQLite {one['sqlite']}, Limner at {one['commit']}; "
        f"load {min(loads)} to {max(loads)}, an fsync took {one['fsync_ms']} ms. "
        "Each cost is **seconds of processor**, the engine's and the database's together, "
        "and in brackets the seconds that passed.\n\n"
    )


def _measured(measured: Sequence[Mapping[str, Any]]) -> str:
    def row(name: str, figure: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [name, *(figure(one) for one in measured)]

    def cost(*path: str, unit: str = "ms") -> Callable[[Mapping[str, Any]], str]:
        return lambda one: _cost(_at(one, path), unit=unit)

    def worked(task: int) -> Callable[[Mapping[str, Any]], str]:
        return lambda one: _cost(_sum(one[f"new_in_tasks_of_{task}"]), unit="ms")

    return _table(
        ["", *(f"{one['size']:,} records" for one in measured)],
        [
            row("store, MB", lambda one: f"{sum(one['bytes'].values()) / 1e6:,.1f}"),
            row("bytes for a record, its fate and journal", lambda one: f"{one['bytes_per_record']:.0f}"),
            row("bytes for a result, its task's share", lambda one: f"{one['bytes_per_result']:.0f}"),
            row("intake of 1,000 new records, planned", cost("new_in_tasks_of_512", "intake")),
            row("1,000 new records in, through both stages, tasks of 512", worked(512)),
            row("the same in tasks of 16", worked(16)),
            row("1,000 of the oldest records, changed", lambda one: _cost(_sum(one["changed_old"]), unit="ms")),
            row("1,000 of the oldest records, unchanged", lambda one: _cost(_sum(one["unchanged_old"]), unit="ms")),
            row("pass, nothing stale", lambda one: _pass(one, "nothing_stale")),
            row("pass, 1 % stale", lambda one: _pass(one, "one_in_100_stale")),
            row("pass, new version of a stage", lambda one: _pass(one, "version_moved")),
            row("status with its counts", cost("status")),
            row("turn of the engine with nothing to do", cost("idle_turn")),
            row("the same with a job over everything", cost("turn_with_such_a_job")),
            row("job over everything, nothing to do", cost("job_over_everything")),
            row("1,000 look-ups, one by one", cost("look_ups_of_1000")),
        ],
    )


def _at(one: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, float]:
    found: Any = one
    for step in path:
        found = found[step]
    cost: Mapping[str, float] = found
    return cost


def _sum(pieces: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(piece[name] for piece in pieces.values()) for name in ("wall_s", "cpu_s", "database_s")}


def _cost(cost: Mapping[str, float], *, unit: str) -> str:
    times = {"ms": 1e3, "µs": 1e6, "s": 1.0}[unit]
    return f"{_plain(times * (cost['cpu_s'] + cost['database_s']))} {unit} ({_plain(times * cost['wall_s'])})"


def _pass(one: Mapping[str, Any], name: str) -> str:
    """Microseconds a record, and what that makes for all of them where not all were looked at."""
    cost = one["passes"][name]
    each = {key: cost[key] / cost["looked_at"] for key in ("wall_s", "cpu_s", "database_s")}
    whole = (each["cpu_s"] + each["database_s"]) * one["records"]
    note = "" if cost["looked_at"] >= one["records"] else " by the first " + f"{cost['looked_at']:,}"
    return f"{_cost(each, unit='µs')} a record; {_plain(whole)} s for all{note}"


def _bytes(one: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", f"{size / 1e6:,.1f}", f"{size / one['records']:.1f}"]
        for name, size in one["bytes"].items()
        if size / one["records"] >= 0.5
    ]
    return _table(["table or index", "MB", "bytes for each record of the collection"], rows)


def _told_costs(simulated: Mapping[str, Any]) -> str:
    names = list(simulated["costs"])
    rows = [
        [label, *(_plain(times * simulated["costs"][name][key]) for name in names)]
        for label, key, times in (
            ("take one record in, engine, µs", "intake_s", 1e6),
            ("the same, database, µs", "intake_database_s", 1e6),
            ("one result, engine, µs", "result_s", 1e6),
            ("the same, database, µs", "result_database_s", 1e6),
            ("one task, engine, µs", "task_s", 1e6),
            ("the same, database, µs", "task_database_s", 1e6),
            ("a turn, more for each million records, ms", "turn_s_per_record", 1e9),
            ("bytes of a record", "record_bytes", 1.0),
            ("bytes of a result", "result_bytes", 1.0),
            ("of a record, bytes in the index of ids", "id_index_bytes", 1.0),
        )
    ]
    one = simulated["scenarios"][0]["cluster"]
    table = _table(["cost that it takes from the largest store", *(_NAMES[name] for name in names)], rows)
    about = (
        f"\n{one['records']:,} records in {one['pipelines']} pipelines of {one['stages']} stages each, "
        f"{one['pipelines'] * one['stages']} stages' workers; inferring takes {1e3 * one['model_median_s']:g} ms "
        f"a record in the median stage (log-normal, sigma {one['model_sigma']:g}); seed {simulated['seed']}. "
        f"Tasks of {one['task']} and workers for {one['hours']:g} h where the row says nothing else.\n\n"
    )
    return table + about


def _simulated(scenarios: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in scenarios:
        busy = [f"{one['busy'][name]:.0%}" for name in _STATIONS]
        rate = one["cluster"]["records"] * one["cluster"]["stages"] / one["hours"] / 3600
        built = "yes" if one["built"] else "no"
        sizes = [f"{one['workers']:,}", f"{one['store_gb']:,.0f}"]
        told = [one["name"], built, f"{one['hours']:,.1f}", f"{rate:,.0f}", f"**{one['wall']}**"]
        rows.append([*told, *busy, *sizes])
    head = [
        "",
        "built",
        "hours",
        "results/s",
        "first wall",
        *(f"{name} busy" for name in _STATIONS),
        "workers",
        "store, GB",
    ]
    return _table(head, rows)


def _plain(value: float) -> str:
    """A figure for people."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
