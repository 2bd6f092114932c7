"""Draws docs/growth.svg and docs/scale.svg from growth.json and scale.json; needs what plots.txt pins."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
_COLOURS = {"sqlite": "#0b6e99", "postgresql": "#c4622d"}
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_DASHES = ("-", "--", ":")
#: The same file for the same figures: no date, and names of its parts that are not drawn by chance.
matplotlib.rcParams.update(
    {"svg.hashsalt": "limner", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
)


def growth(runs: Mapping[str, Sequence[Mapping[str, Any]]], file: Path) -> None:
    """Bytes and costs against the size of the store, both axes by powers of ten."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    (size, further), (reading, planning) = figure.subplots(2, 2)
    _lines(size, runs, {"store": lambda one: sum(one["bytes"].values()) / 1e9})
    _titled(size, "The store", "GB")
    pieces = {
        "intake": lambda one: 1e3 * _spent(one["new_in_tasks_of_512"]["intake"]),
        "work, tasks of 512": lambda one: 1e3 * _work(one["new_in_tasks_of_512"]),
        "work, tasks of 16": lambda one: 1e3 * _work(one["new_in_tasks_of_16"]),
    }
    _lines(further, runs, pieces)
    _titled(further, "1,000 further records", "ms of processor")
    reads = {
        "status with counts": lambda one: 1e3 * _spent(one["status"]),
        "turn of the engine, a job over everything open": lambda one: 1e3 * _spent(one["turn_with_such_a_job"]),
        "one look-up": lambda one: _spent(one["look_ups_of_1000"]),
    }
    _lines(reading, runs, reads)
    _titled(reading, "Reading", "ms of processor")
    passes = {
        "nothing stale": lambda one: _pass(one, "nothing_stale"),
        "new version of a stage": lambda one: _pass(one, "version_moved"),
        "job over everything, nothing to do": lambda one: _spent(one["job_over_everything"]),
    }
    _lines(planning, runs, passes)
    _titled(planning, "Planning over everything", "s of processor")
    _saved(figure, file)


def simulation(scenarios: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Records that are done against time, and how busy each station was."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    course, busy = figure.subplots(1, 2)
    colours = matplotlib.colormaps["tab10"]
    for at, one in enumerate(scenarios):
        line = "-" if one["built"] else "--"
        course.plot(one["at_hours"], one["done_millions"], line, color=colours(at), label=one["name"], linewidth=1.3)
    course.set(
        xscale="log",
        xlim=(0.5, None),
        xlabel="hours",
        ylabel="million records done",
        title="Solid: can be run today; dashed: not built",
    )
    figure.legend(*course.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=6.5, frameon=False)
    stations = ("conductor", "database", "disk", "broker", "workers")
    high = 0.8 / len(stations)
    for place, station in enumerate(stations):
        where = [at + (place - 2) * high for at in range(len(scenarios))]
        busy.barh(where, [100 * one["busy"][station] for one in scenarios], height=high, label=station)
    busy.set_yticks(range(len(scenarios)), [one["name"] for one in scenarios], fontsize=6.5)
    busy.invert_yaxis()
    busy.set(xlabel="% of the time busy", xlim=(0, 105), title="The longest bar is the wall")
    figure.legend(*busy.get_legend_handles_labels(), loc="outside upper right", ncols=5, fontsize=6.5, frameon=False)
    _saved(figure, file)


def _lines(axes: Axes, runs: Mapping[str, Sequence[Mapping[str, Any]]], figures: Mapping[str, Any]) -> None:
    for database, measured in runs.items():
        sizes = [one["records"] for one in measured]
        for (name, figure), dash in zip(figures.items(), _DASHES, strict=False):
            label = f"{name}, {_NAMES[database]}"
            values = [figure(one) for one in measured]
            axes.plot(
                sizes, values, dash, marker="o", markersize=3, color=_COLOURS[database], label=label, linewidth=1.2
            )
    axes.set(xscale="log", yscale="log", xlabel="records in the store")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=6.5, frameon=False, loc="upper left", bbox_to_anchor=(0.0, -0.16))


def _titled(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylabel(unit)


def _spent(cost: Mapping[str, float]) -> float:
    return cost["cpu_s"] + cost["database_s"]


def _work(pieces: Mapping[str, Mapping[str, float]]) -> float:
    return sum(_spent(pieces[name]) for name in ("first", "middle", "last"))


def _pass(one: Mapping[str, Any], name: str) -> float:
    """Seconds for all records, by those that the pass looked at."""
    cost = one["passes"][name]
    return _spent(cost) / cost["looked_at"] * float(one["records"])


def _saved(figure: Figure, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
    # Lines that end in blanks are no part of a picture.
    file.write_text("".join(f"{line.rstrip()}\n" for line in file.read_text().splitlines()))


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", type=Path, default=HERE, help="Folder of growth.json and scale.json.")
    parser.add_argument("--into", type=Path, default=HERE.parent / "docs", help="Folder of both pictures.")
    asked = parser.parse_args()
    growth(json.loads((asked.of / "growth.json").read_text())["runs"], asked.into / "growth.svg")
    simulation(json.loads((asked.of / "scale.json").read_text())["scenarios"], asked.into / "scale.svg")


if __name__ == "__main__":
    main()
