"""How a store grows and what the engine costs on it, at 10,000 to 5,000,000 records; writes growth.json."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from footing import bytes_by_name, load, processor_of, total
from growing import TASK, Cost, Growing, Meter, Turns
from run import fsync_ms, machine

from limner.store.connect import connect_store

HERE = Path(__file__).resolve().parent
SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
#: Further records that are taken in and worked at each size, and in tasks of which sizes.
BATCH = 1_000
TASKS = (TASK, 16)


def measure(growing: Growing, *, looked_at: int, repeats: int) -> dict[str, Any]:
    """The figures of a store as it stands."""
    found: dict[str, Any] = {"records": growing.records, "load": round(load(), 1)}
    sizes = bytes_by_name(growing.store)
    found["bytes"] = sizes
    found["bytes_per_record"] = total(sizes, "records", "ledger", "journal") / growing.records
    found["bytes_per_result"] = total(sizes, "results", "tasks") / (2 * growing.records)
    found["passes"] = _passes(growing, looked_at=looked_at)
    for task in TASKS:
        growing.use_tasks_of(task)
        new = [growing.take_in(range(growing.records, growing.records + BATCH)) for _ in range(repeats)]
        found[f"new_in_tasks_of_{task}"] = _turns(new, expected=BATCH)
    growing.use_tasks_of(TASK)
    # Those with the smallest keys, each time others, since what follows them in the store is what there is more of.
    old = [range(at * BATCH, (at + 1) * BATCH) for at in range(repeats)]
    # Every time by another value, so that they change again where a store was measured before.
    by = int(time.time())
    found["changed_old"] = _turns([growing.take_in(one, changed=by) for one in old], expected=BATCH)
    again = [growing.take_in(one, changed=by) for one in old]
    found["unchanged_old"] = _turns(again, expected=0)
    found["status"] = _median([growing.status() for _ in range(repeats)])
    found["idle_turn"] = _median([growing.idle_turn() for _ in range(repeats)])
    whole = [growing.over_everything() for _ in range(repeats)]
    found["job_over_everything"] = _median([cost for cost, _ in whole])
    found["turn_with_such_a_job"] = _median([turn for _, turn in whole])
    growing.look_up(20)
    found["look_ups_of_1000"] = _median([growing.look_up(1_000) for _ in range(repeats)])
    return found


def _passes(growing: Growing, *, looked_at: int) -> dict[str, Any]:
    """The planner over the first *looked_at* records: nothing stale, one in a hundred, and all by a new version."""
    found: dict[str, Any] = {}
    for name in ("nothing_stale", "one_in_100_stale", "version_moved"):
        if name == "one_in_100_stale":
            growing.make_stale(each=100, most=looked_at)
        code = f"{time.time_ns()}" if name == "version_moved" else "1"
        cost, looked, planned = growing.look_through(most=looked_at, code=code, work_off=name == "one_in_100_stale")
        found[name] = {"looked_at": looked, "planned": planned, **_rounded(cost)}
    wanted = {"nothing_stale": 0, "one_in_100_stale": -(-min(looked_at, growing.records) // 100)}
    for name, count in wanted.items():
        if found[name]["planned"] != count:
            raise RuntimeError(f"{name}: {found[name]['planned']} records were planned, not {count}.")
    return found


def _turns(done: Sequence[tuple[Turns, int]], *, expected: int) -> dict[str, Any]:
    """Medians of each piece, for a thousand records."""
    for _, changed in done:
        if changed != expected:
            raise RuntimeError(f"{changed} records were new or changed, not {expected}.")
    names = [one.name for one in fields(Turns)]
    return {name: _median([getattr(turns, name) for turns, _ in done]) for name in names}


def _median(costs: Sequence[Cost]) -> dict[str, float]:
    """The median of each figure."""
    names = [one.name for one in fields(Cost)]
    return _rounded(Cost(**{name: statistics.median(getattr(cost, name) for cost in costs) for name in names}))


def _rounded(cost: Cost) -> dict[str, float]:
    return {name: round(value, 6) for name, value in asdict(cost).items()}


@contextmanager
def sqlite(folder: Path) -> Iterator[Callable[[int], Growing]]:
    """Stores in files of *folder*, one for each size."""
    with ExitStack() as stack:

        def opened(size: int) -> Growing:
            store = connect_store(f"sqlite:///{folder / f'grown_{size}.db'}")
            stack.callback(store.close)
            return Growing(store, Meter(database=lambda: 0.0))

        yield opened


@contextmanager
def postgresql(folder: Path, *, url: str | None) -> Iterator[Callable[[int], Growing]]:
    """Stores in schemas of the server at *url*, or of one that is started in *folder*."""
    import psycopg

    with ExitStack() as stack:
        if url is None:
            # The repository's own tools are no package that is installed.
            sys.path.append(str(HERE.parent))
            from tools.services import PostgreSQLServer

            place = folder / "postgresql"
            place.mkdir()
            server = PostgreSQLServer(place, syncs=True)
            server.start()
            stack.callback(server.kill)
            url = server.url
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        backend = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert backend is not None
        postmaster = int(Path(f"/proc/{backend[0]}/stat").read_text().rpartition(")")[2].split()[1])

        def opened(size: int) -> Growing:
            store = connect_store(f"{url}?schema=grown_{size}")
            stack.callback(store.close)
            return Growing(store, Meter(database=processor_of(postmaster)))

        yield opened


def tidy(growing: Growing) -> None:
    """Do what a server does by itself in time after so many rows: count them for its plans."""
    with growing.store.reading() as tx:
        if tx.connection.dialect.name == "sqlite":
            return
    with growing.store.transaction() as tx:
        tx.connection.exec_driver_sql("ANALYZE")


def tell(file: Path, database: str, *, folder: Path, figures: dict[str, Any]) -> None:
    """Put the figures of one size into *file*, beside those of other sizes and databases."""
    before = json.loads(file.read_text()) if file.exists() else {"runs": {}}
    kept = [one for one in before["runs"].get(database, []) if one["size"] != figures["size"]]
    about = {**machine(folder), "fsync_ms": round(fsync_ms(folder), 3)}
    about.pop("peers")
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src"], cwd=HERE.parent, capture_output=True).returncode:
        about["commit"] = f"{about['commit']} with changes that are no commit yet"
    runs = {**before["runs"], database: sorted([*kept, {**figures, "machine": about}], key=lambda one: one["size"])}
    file.write_text(json.dumps({"runs": runs}, indent=1) + "\n")


def main() -> None:
    """Grow a store of each kind to each size, and measure it there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="Records.")
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    parser.add_argument("--looked-at", type=int, default=200_000, help="Records that each pass looks at, at most.")
    parser.add_argument("--repeats", type=int, default=3, help="Of all but the passes; medians are told.")
    parser.add_argument("--into", type=Path, default=HERE / "growth.json")
    parser.add_argument("--keep", type=Path, help="Folder of stores that stay and are gone on with.")
    parser.add_argument("--postgresql", metavar="URL", help="A server on this machine; by default one is started.")
    parser.add_argument("--fill-only", action="store_true", help="Write the records in bulk and measure nothing.")
    asked = parser.parse_args()
    with ExitStack() as stack:
        if asked.keep is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="limner-growth-")))
            folder.chmod(0o755)
        else:
            folder = asked.keep.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        for database in asked.databases:
            way = sqlite(folder) if database == "sqlite" else postgresql(folder, url=asked.postgresql)
            opened = stack.enter_context(way)
            for size in asked.sizes:
                growing = opened(size)
                print(f"{database}: {size:,} records, {growing.records:,} of them there", file=sys.stderr, flush=True)
                copied, filled = growing.fill(size)
                tidy(growing)
                if not asked.fill_only:
                    figures = measure(growing, looked_at=asked.looked_at, repeats=asked.repeats)
                    bulk = {"bulk": {"records": copied, **_rounded(filled)}}
                    tell(asked.into, database, folder=folder, figures={"size": size, **bulk, **figures})


if __name__ == "__main__":
    main()
