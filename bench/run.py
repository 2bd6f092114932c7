"""What `make bench` calls: Limner, its peers and the physical limits in one go, alternating; writes RESULTS.md."""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from report import write_report

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do a work."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    #: Runs in the environment that ``peers/<peer>.txt`` pins.
    peer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured, by whom, and which figure is compared."""

    name: str
    about: str
    contenders: tuple[Contender, ...]
    #: Figure that the medians and the ratios are of, and whether more of it is better.
    figure: str = "rate"
    more_is_better: bool = True
    repeats: int = 3


def works(*, scale: float) -> list[Work]:
    """Every work; *scale* 1 is the full size."""

    def sized(count: int) -> str:
        return str(max(50, int(count * scale)))

    def batch(sizes: Mapping[str, int], model_ms: str) -> tuple[Contender, ...]:
        return tuple(
            Contender(
                name=name,
                script="batch.py",
                options=("--who", name, "--records", sized(size), "--model-ms", model_ms),
                peer=name if name in ("ray", "pixeltable") else None,
            )
            for name, size in sizes.items()
        )

    loops = ("limner", "multiprocessing", "limit: loop to Parquet")
    # Fewer of those that take their time: what is compared is the rate.
    slow = {"limit: loop to SQLite": 1_000_000, "ray": 1_000_000, "pixeltable": 100_000}

    def change(size: int, stages: str) -> tuple[Contender, ...]:
        options = ("--records", sized(size), "--stages", stages)
        names = ("limner", "limit")
        return tuple(Contender(name=name, script="change.py", options=("--who", name, *options)) for name in names)

    def limner_alone(script: str, *options: str) -> tuple[Contender, ...]:
        return (Contender(name="limner", script=script, options=options),)

    def asked_by_many(script: str, *names: str, options: tuple[str, ...] = ()) -> tuple[Contender, ...]:
        """Servers that are asked for as long as the scale says; the peer litserve in its own environment."""
        seconds = ("--seconds", f"{max(0.3, 4 * min(1.0, scale)):g}")
        return tuple(
            Contender(
                name=name,
                script=script,
                options=("--who", name, *options, *seconds),
                peer="litserve" if name == "litserve" else None,
            )
            for name in names
        )

    def looked_up(size: int) -> tuple[Contender, ...]:
        whole = max(10_000, int(size * scale) // 10_000 * 10_000)
        return asked_by_many("lookup.py", "limner", "fastapi", "limit", options=("--records", str(whole)))

    durable = ("--records", sized(20_000))
    return [
        Work(
            name="A",
            about="durable pipeline: records through two tiny stages, results stored, fsync on; records/s",
            contenders=(
                Contender(name="limner", script="pipeline.py", options=("--who", "limner", *durable)),
                Contender(name="huey", script="pipeline.py", options=("--who", "huey", *durable), peer="huey"),
                Contender(name="limit", script="pipeline.py", options=("--who", "limit", *durable)),
            ),
        ),
        Work(
            name="A, RabbitMQ and PostgreSQL",
            about="durable pipeline over a broker, two workers each, results in PostgreSQL with fsync; records/s",
            contenders=tuple(
                Contender(
                    name=name,
                    script="broker_pipeline.py",
                    options=("--who", name, "--records", sized(size)),
                    peer=None if name == "limner" else name,
                )
                # Fewer of those that take a second for some hundreds: what is compared is the cost of one more.
                for name, size in (("limner", 20_000), ("dramatiq", 20_000), ("celery", 5_000))
            ),
            repeats=2,
        ),
        Work(
            name="A, Kafka and PostgreSQL",
            about="the same over Kafka; records/s",
            contenders=limner_alone("broker_pipeline.py", "--bus", "kafka", "--records", sized(20_000)),
            repeats=2,
        ),
        Work(
            name="B, tiny model",
            about="batch inference of 16 floats a record from Parquet, every result stored; records/s (mark 250,000)",
            contenders=batch({**dict.fromkeys(loops, 1_000_000), **slow, "limner, record by record": 100_000}, "0"),
            repeats=2,
        ),
        Work(
            name="B, tiny model, 10 M records",
            about="the same ten times as large: memory must not grow; records/s (mark 250,000)",
            contenders=batch(dict.fromkeys(("limner", "limit: loop to Parquet"), 10_000_000), "0"),
            repeats=1,
        ),
        Work(
            name="B, 10 ms a batch",
            about="the same with a model that takes 10 ms for a batch of 1,000; records/s",
            contenders=batch(dict.fromkeys(loops, 1_000_000), "10"),
            repeats=1,
        ),
        *(
            Work(
                name=f"precalc, {size:,} molecules",
                about="a library of made molecules through a model of weights, keyed by InChIKey; rows/s",
                contenders=tuple(
                    Contender(name=name, script="precalc.py", options=("--who", name, "--records", sized(size)))
                    for name in ("limner", "limit: RDKit alone")
                ),
                repeats=repeats,
            )
            for size, repeats in ((20_000, 2), (100_000, 1))
        ),
        Work(
            name="C",
            about="online request: one stage over HTTP with dynamic batching, 32 clients; requests/s (mark 5,500)",
            contenders=asked_by_many("online.py", "limner", "fastapi", "litserve", "limit"),
        ),
        Work(
            name="D, 1 M records",
            about="look-up of one stored result by its key over HTTP, 32 clients; requests/s (mark 10,000)",
            contenders=looked_up(1_000_000),
        ),
        Work(
            name="D, 10 M records",
            about="the same ten times as large; requests/s (mark 10,000)",
            contenders=looked_up(10_000_000),
            repeats=1,
        ),
        Work(
            name="E",
            about="kill -9 of a worker, then of the server; seconds from its restart to a new result (mark 1)",
            contenders=limner_alone("kills.py", "--records", sized(1_000)),
            figure="first_result_s",
            more_is_better=False,
        ),
        *(
            Work(
                name=f"E, {name} and PostgreSQL",
                about="the same with the workers on that bus; seconds from the restart to a new result (mark 1)",
                contenders=limner_alone("kills.py", "--bus", bus, "--store", "postgresql", "--records", sized(1_000)),
                figure="first_result_s",
                more_is_better=False,
            )
            for name, bus in (("HTTP", "http"), ("RabbitMQ", "rabbitmq"), ("Kafka", "kafka"))
        ),
        Work(
            name="F",
            about="a new version of the last of three stages; records/s of the run that follows",
            contenders=change(100_000, "3"),
            figure="change_rate",
            repeats=1,
        ),
        Work(
            name="F, nothing changed",
            about="a run with nothing to do over one stage; seconds",
            contenders=change(1_000_000, "1"),
            figure="noop_s",
            more_is_better=False,
            repeats=1,
        ),
        Work(
            name="G",
            about="8 far workers, a model of 1 s a record, one worker killed half-way; share of the ideal (mark 0.95)",
            contenders=limner_alone("far.py", "--records", sized(1_000)),
            figure="share_of_ideal",
            repeats=1,
        ),
        Work(
            name="H",
            about="a plain install in a new environment; megabytes of its packages",
            contenders=(Contender(name="limner", script="footprint.py"),),
            figure="megabytes",
            more_is_better=False,
            repeats=1,
        ),
        Work(
            name="server, enqueue",
            about="records of one request until all stand in the store as work; records/s (mark 20,000)",
            contenders=limner_alone("server.py", "--what", "enqueue", "--records", sized(50_000)),
        ),
        Work(
            name="server, take",
            about="four workers in plain HTTP and JSON take and answer; records/s (mark 1,000)",
            contenders=limner_alone("server.py", "--what", "take", "--records", sized(20_000)),
        ),
        Work(
            name="server, status",
            about="status of a job whose items are open, as many as the size says; milliseconds (mark 50 at 100,000)",
            contenders=limner_alone("server.py", "--what", "status", "--records", sized(100_000)),
            figure="p50_ms",
            more_is_better=False,
        ),
        Work(
            name="server, poll",
            about="200 workers poll, then take and answer; records/s (mark 1,000)",
            contenders=limner_alone("server.py", "--what", "poll", "--records", sized(12_800), "--workers", "200"),
        ),
        Work(
            name="server, manifest",
            about="a request whose records stand in a list behind an address; megabytes of the server (mark 500)",
            contenders=limner_alone("manifest.py", "--records", sized(200_000)),
            figure="server_mb",
            more_is_better=False,
            repeats=1,
        ),
    ]


def environment(peer: str) -> Path:
    """The Python of a peer's own environment, made from its pinned list if it is not there."""
    place = HERE / f".env-{peer}"
    python = place / "bin" / "python"
    pinned = HERE / "peers" / f"{peer}.txt"
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), "-r", str(pinned)]
    subprocess.run(install, check=True)
    return python


def measure(contender: Contender, *, folder: Path) -> dict[str, object]:
    """The figures of one run of a contender."""
    python = str(environment(contender.peer)) if contender.peer else sys.executable
    command = [python, str(HERE / contender.script), *contender.options]
    # Where a machine asks Python not to keep what it compiles, every start would compile it all anew.
    keeping = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    told = subprocess.run(command, check=True, cwd=folder, env=keeping, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, object] = json.loads(told.strip().splitlines()[-1])
    return figures


def alternating(work: Work, *, folder: Path, repeats: int | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Every contender in turn, again and again, so that a slow minute of the machine hits all of them."""
    for _ in range(min(work.repeats, repeats or work.repeats)):
        for contender in work.contenders:
            print(f"{work.name}: {contender.name}", file=sys.stderr, flush=True)
            before = fsync_ms(folder)
            yield contender.name, {**measure(contender, folder=folder), "fsync_ms": round(before, 3)}


def machine(folder: Path) -> dict[str, object]:
    """What it was measured on."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")), "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": round(os.getloadavg()[0], 2),
        "commit": commit.stdout.strip(),
        "peers": {list_.stem: list_.read_text().split() for list_ in sorted((HERE / "peers").glob("*.txt"))},
    }


def fsync_ms(folder: Path) -> float:
    """Median milliseconds until four kilobytes are on the disk."""
    took = []
    with (folder / "fsync.bin").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took)


def kept(file: Path, *, besides: Collection[str]) -> list[Mapping[str, object]]:
    """What an earlier run measured and this one did not, each with the machine as it was then."""
    if not file.exists():
        return []
    told = json.loads(file.read_text())
    return [{"machine": told["machine"], **work} for work in told["works"] if work["name"] not in besides]


def main() -> None:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the full size.")
    parser.add_argument("--repeats", type=int, help="At most so often; by default as each work says.")
    parser.add_argument("--only", nargs="*", metavar="WORK", help="Only works whose names begin so.")
    parser.add_argument("--into", type=Path, default=HERE, help="Folder of RESULTS.md and results.json.")
    asked = parser.parse_args()
    found: list[Mapping[str, object]] = []
    with TemporaryDirectory(prefix=".bench-", dir=HERE) as place:
        about = machine(Path(place))
        for work in works(scale=asked.scale):
            if asked.only and not work.name.startswith(tuple(asked.only)):
                continue
            runs: dict[str, list[dict[str, object]]] = {contender.name: [] for contender in work.contenders}
            for name, figures in alternating(work, folder=Path(place), repeats=asked.repeats):
                runs[name].append(figures)
            found.append({**{k: v for k, v in asdict(work).items() if k != "contenders"}, "runs": runs})
    if asked.only:
        found = [*kept(asked.into / "results.json", besides={str(work["name"]) for work in found}), *found]
        found.sort(key=lambda work: str(work["name"]))
    about["load_after"] = round(os.getloadavg()[0], 2)
    write_report(asked.into, machine=about, works=found)


if __name__ == "__main__":
    main()
