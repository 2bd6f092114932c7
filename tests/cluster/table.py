"""Storms over every combination, one after the other, told in a page: ``python -m tests.cluster.table --help``."""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.cluster.cluster import BLOWS
from tests.cluster.project import Place
from tests.cluster.storms import COMBINATIONS, Outcome, storm, undisturbed

_PAGE = """# Storms over a cluster

Written by `make chaos`. Two servers and three workers, all real processes, work on one PostgreSQL, a broker and
artifacts. While a job of {records:,} records in three stages (one makes children, one makes files) is at work, each
blow falls once, in an order that the seed says. Then what is left is compared with a run on SQLite in which nothing
happened: every result of every record, stage and version, by the digest of its value. All the while another thread
reads the job's counts, which must add up and never fall.

Seed {seed}; what is stopped stays away for {pause:g} s; {cores} cores, Python {python}. The seconds are those from the
beginning of a blow, the restart of what was killed included, to the first new result.

| {titles} |
|{rule}|
{rows}

`pytest -m chaos tests/cluster` is a small storm over two of the combinations, in every build. Not part of it: a full
disk of artifacts, a clock that jumps, and a link that is cut for a while. A worker with no way out but a proxy is
tested in `tests/far/test_outbound_only.py`; clocks move in `tests/app` and `tests/systems/antenna/regressions`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Rage over every combination; 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", "1")))
    parser.add_argument("--pause", type=float, default=30.0, help="seconds for which things stay away")
    parser.add_argument("--page", type=Path, default=Path("docs/chaos.md"))
    parser.add_argument("--only", metavar="BUS+ARTIFACTS", nargs="*", help="for example rabbitmq+folder")
    asked = parser.parse_args(arguments)
    rows, failed = [], False
    with tempfile.TemporaryDirectory(prefix="limner-storms-") as folder:
        calm = undisturbed(Path(folder) / "calm", asked.records)
        for bus, artifacts in COMBINATIONS:
            name = f"{bus}+{artifacts}"
            if asked.only and name not in asked.only:
                continue
            found = _one(Path(folder) / name, bus, artifacts, calm=calm, asked=asked)
            failed |= isinstance(found, str)
            rows.append(_row(name, found))
            sys.stdout.write(f"{rows[-1]}\n")
            sys.stdout.flush()
    titles = ("PostgreSQL and", "results", "reads of counts", "wrong", *(_words(blow) for blow in BLOWS))
    asked.page.write_text(
        _PAGE.format(
            records=asked.records,
            seed=asked.seed,
            pause=asked.pause,
            cores=os.cpu_count(),
            python=platform.python_version(),
            titles=" | ".join(titles),
            rule="|".join("---" for _ in titles),
            rows="\n".join(rows),
        )
    )
    return int(failed)


def _one(
    folder: Path, bus: str, artifacts: str, *, calm: Mapping[Place, tuple[int, bytes]], asked: argparse.Namespace
) -> Outcome | str:
    """What a storm came to, or what did not hold in it."""
    try:
        return storm(
            folder,
            bus=bus,
            artifacts=artifacts,
            records=asked.records,
            seed=asked.seed,
            calm=calm,
            pause=asked.pause,
        )
    except AssertionError as error:
        return f"{error}".splitlines()[0]


def _row(name: str, found: Outcome | str) -> str:
    if isinstance(found, str):
        return f"| {name} | **did not hold: {found}** |" + " |" * (2 + len(BLOWS))
    waits = dict(found.waits)
    cells: Iterable[str] = (f"{waits[blow]:g} s" if blow in waits else "–" for blow in BLOWS)
    same = f"{found.results:,}, as undisturbed"
    return f"| {name} | {same} | {found.reads:,} | {len(found.wrong)} | {' | '.join(cells)} |"


def _words(blow: str) -> str:
    return blow.replace("_", " ")


if __name__ == "__main__":
    raise SystemExit(main())
