"""From the figures of a run of the benchmarks to RESULTS.md and results.json."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD = """# Results of the benchmarks

Written by `make bench`; [how to read this](../docs/benchmarks.md). Medians of runs that alternate on one machine: the
ratios mean something, the absolute figures little. Where there was one run only, the figure is that run's and no
median; of several, the least and the most stand beside it.

"""
_NOTES = """
Read with care: huey is given one record a task, since it knows no batches, while Limner hands 512 records to a task
and commits them together. In B the pool stores nothing, and `peak_rss_mb` is the memory of the process itself
without its children. Where nothing changed Limner compares versions and looks at no record, while the limit scans all
of them, so that to be ahead of it there says little; with the source named every row is read again
(`noop_with_source_s`).

In C and D one process asks over bare sockets, from the same cores that the server has, so that server and client share
what there is; FastAPI and the limits run under uvicorn as Limner does, and look up and infer without the checks, the
provenance and the tokens that Limner brings. In E and G nobody else of those that `make bench` can install does the
work over outbound HTTP alone; both count from the store. In G the lease is 3 s, and the ideal knows one worker less
from the kill on. The server's own works are those of `docs/benchmarks.md`; `handed_twice` counts records that two
workers were given. In E `redone` counts records that were begun more than once.

Works on a broker start a PostgreSQL that syncs every commit and a RabbitMQ or Kafka of their own, new for each run.
There dramatiq and Celery publish with confirms, acknowledge after the work, take one record a message and store each
result with one statement; Celery is given fewer records, since the cost of one more is what is compared. `cpu_s` is the
processor time of all that sends and works, `servers_cpu_s` that of PostgreSQL and the broker: on a busy machine they
say more than the rates. In E `worker_pause_s` is the longest time without a new result between the kill of the worker
and that of the server, `restart_s` what the server took to start, and `last_pause_s` the longest such time after that.

What needs a cluster is measured there and not here: C with several replicas, D on PostgreSQL, and G on machines of
their own.

Not measured here: MLServer, BentoML and Ray Serve (C), FastStream, Ray, Prefect, DBOS, Spark, Beam and Pixeltable.
"""
#: Figures that stand in the table beside the one that is compared.
_ASIDE = (
    *("size", "workers", "results", "peak_rss_mb", "seconds_for_one", "fsync_ms"),
    *("fill_s", "noop_s", "noop_with_source_s", "change_s", "change_inferred", "noop_inferred"),
    *("packages", "first_result_s", "help_s"),
    *("rate", "p50_ms", "p99_ms", "alone_p50_ms", "bulk_ids_per_s"),
    *("lost", "doubled", "redone", "worker_pause_s", "restart_s", "last_pause_s", "count_reads", "wrong_counts"),
    *("ideal_s", "seconds", "handed_twice", "not_committed", "server_cpu_share", "idle_cpu", "server_mb"),
    *("slowest_status_ms", "accepted_s", "cpu_s", "servers_cpu_s"),
)


def write_report(into: Path, *, machine: Mapping[str, Any], works: Sequence[Mapping[str, Any]]) -> None:
    """Write both files into the folder *into*."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "results.json").write_text(json.dumps({"machine": machine, "works": works}, indent=1) + "\n")
    told = [_HEAD, _told_machine(machine), _told_disk(works), *(_told_work(work) for work in works), _NOTES]
    (into / "RESULTS.md").write_text("".join(told))


def _told_machine(machine: Mapping[str, Any]) -> str:
    """The machine, as a sentence and a list of versions."""
    busy = max(machine["load_before"], machine["load_after"]) > 0.5 + float(machine["cores"])
    # The benchmarks themselves keep a core or two busy, so only more than that is other load.
    load = f"load {machine['load_before']} before, {machine['load_after']} after" + (", other work among it" * busy)
    peers = "; ".join(", ".join(pins) for pins in machine["peers"].values())
    day = f" on {machine['date']}" if "date" in machine else ""
    return (
        f"Machine{day}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; "
        f"{load}. Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"Limner at {machine['commit']}; {peers}.\n"
    )


def _told_disk(works: Sequence[Mapping[str, Any]]) -> str:
    """How evenly the disk took what was to be safe: an uneven one makes single runs of durable work slow."""
    took = [float(run["fsync_ms"]) for work in works for runs in work["runs"].values() for run in runs]
    return f"An fsync took {min(took):.3g} to {max(took):.3g} ms, looked at before each run.\n" if took else ""


def _told_work(work: Mapping[str, Any]) -> str:
    """The table of one work: medians, and how Limner's compares with each."""
    medians = {name: _median(runs, work["figure"]) for name, runs in work["runs"].items() if runs}
    lines = [
        f"\n## {work['name']}: {work['about']}\n",
        "\n" + _told_machine(work["machine"]).replace("Machine", "Measured before", 1) if "machine" in work else "",
        "\n| who | median | runs | least – most | Limner is | beside it |\n|---|---:|---:|---|---|---|\n",
    ]
    for name, median in medians.items():
        runs = work["runs"][name]
        aside = [key for key in _ASIDE if key in runs[0] and key != work["figure"]]
        beside = ", ".join(f"{key} {_plain(_median(runs, key))}" for key in aside)
        against = "" if name == "limner" else _ratio(medians["limner"], median, more=work["more_is_better"])
        lines.append(
            f"| {name} | {_plain(median)} | {len(runs)} | {_spread(runs, work['figure'])} | {against} | {beside} |\n"
        )
    return "".join(lines)


def _median(runs: Sequence[Mapping[str, Any]], figure: str) -> float:
    return float(statistics.median(float(run[figure]) for run in runs))


def _spread(runs: Sequence[Mapping[str, Any]], figure: str) -> str:
    """The least and the most of several runs."""
    found = sorted(float(run[figure]) for run in runs)
    return f"{_plain(found[0])} – {_plain(found[-1])}" if len(found) > 1 else ""


def _ratio(limner: float, other: float, *, more: bool) -> str:
    """How many times better or worse Limner is."""
    times = (limner / other) if more else (other / limner)
    if times >= 1:
        return f"{times:.1f} × better"
    return f"{1 / times:.1f} × worse"


def _plain(value: float) -> str:
    """A figure for people."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
