"""Storms over every combination, one after the other, told in a page: ``python -m tests.cluster.table --help``."""

import argparse
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.blows import BLOWS, Blow
from tests.cluster.project import Place
from tests.cluster.storms import COMBINATIONS, PACE, Outcome, impossible, storm, undisturbed

_PAGE = """# Storms over a cluster

Written by `make chaos`. Two servers and three workers, all real processes, work on one PostgreSQL, a broker and
artifacts. While a job of {records:,} records in three stages (one makes children, one makes files) is at work, each
blow falls once, in an order that the seed says. Then what is left is compared with a run on SQLite in which nothing
happened: every result of every record, stage and version, by the digest of its value. All the while another thread
reads the job's counts, which must add up and never fall.

Seed {seed}; what is stopped stays away for {pause:g} s; {cores} cores, on which {at_once} storms rage side by
side and whatever else there is; Python {python}. The seconds are those from the beginning of a blow, the restart of
what was killed included, to the first new result.

| {titles} |
|{rule}|
{rows}

What each blow is:

| blow | what happens |
|---|---|
{told}

{missing}The disk is a file system of a few megabytes, which holds the artifacts or the object store's data. The link is
that of a worker in a network namespace, whose only way out it is; it is cut for two thirds of the pause. Clocks are
those of servers and workers, by a library that is preloaded (`tests/cluster/clock.c`); PostgreSQL keeps the right time.
Files count as results: each that was inferred is looked up at the end, and compared with its digest.

`pytest -m chaos tests/cluster` is a small storm over three of the combinations, in every build. A worker with no way
out but a proxy is tested in `tests/far/test_outbound_only.py`; clocks are set in `tests/engine/test_clocks.py`,
`tests/app` and `tests/systems/antenna/regressions`, too.
"""
#: What is said of blows that cannot be dealt where the page was written.
_MISSING = "**Not done here**, since this machine does not allow it: {told}.\n\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rage over every combination; 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", "1")))
    parser.add_argument("--pause", type=float, default=30.0, help="seconds for which things stay away")
    parser.add_argument("--page", type=Path, default=Path("docs/chaos.md"))
    parser.add_argument("--at-once", type=int, default=1, help="combinations that are raged over side by side")
    parser.add_argument("--pace", type=float, default=PACE, help="seconds that a record takes while blows fall")
    parser.add_argument(
        "--only", metavar="BUS+ARTIFACTS", nargs="*", help="such as rabbitmq+folder; the other rows stay"
    )
    asked = parser.parse_args(arguments)
    rows, failed = _kept(asked.page), False
    with tempfile.TemporaryDirectory(prefix="limner-storms-") as folder:
        missing = impossible(Path(folder) / "tries")
        calm = undisturbed(Path(folder) / "calm", asked.records)
        blows = [blow for blow in BLOWS if blow not in missing]

        def rage(bus: str, artifacts: str) -> Outcome | str:
            return _one(Path(folder) / f"{bus}+{artifacts}", bus, artifacts, calm=calm, asked=asked, blows=blows)

        chosen = [pair for pair in COMBINATIONS if not asked.only or "+".join(pair) in asked.only]
        with ThreadPoolExecutor(asked.at_once) as pool:
            for pair, found in zip(chosen, pool.map(rage, *zip(*chosen, strict=True)), strict=True):
                failed |= isinstance(found, str)
                name = "+".join(pair)
                rows[name] = _row(name, found)
                sys.stdout.write(f"{rows[name]}\n")
                sys.stdout.flush()
                asked.page.write_text(_page(asked, rows, missing=missing))
    return int(failed)


def _page(asked: argparse.Namespace, rows: Mapping[str, str], *, missing: Mapping[str, str]) -> str:
    """The page, as far as it goes."""
    titles = ("PostgreSQL and", "results", "reads of counts", "wrong", *(_words(blow) for blow in BLOWS))
    return _PAGE.format(
        records=asked.records,
        seed=asked.seed,
        pause=asked.pause,
        cores=os.cpu_count(),
        at_once=asked.at_once,
        python=platform.python_version(),
        titles=" | ".join(titles),
        rule="|".join("---" for _ in titles),
        rows="\n".join(rows[name] for name in map("+".join, COMBINATIONS) if name in rows),
        told="\n".join(f"| {_words(name)} | {_told(blow)} |" for name, blow in BLOWS.items()),
        missing=_MISSING.format(told="; ".join(f"{_words(blow)} ({why})" for blow, why in missing.items()))
        if missing
        else "",
    )


def _kept(page: Path) -> dict[str, str]:
    """The rows of an earlier run, by combination; those that are raged over again are replaced."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    names = {"+".join(pair) for pair in COMBINATIONS}
    return {name: line for line in lines if (name := line.partition(" |")[0].removeprefix("| ")) in names}


def _one(
    folder: Path,
    bus: str,
    artifacts: str,
    *,
    calm: Mapping[Place, tuple[int, bytes]],
    asked: argparse.Namespace,
    blows: Sequence[str],
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
            blows=blows,
            pace=asked.pace,
        )
    except Exception as error:  # noqa: BLE001  the page tells it, and the other combinations are raged over all the same
        traceback.print_exc()
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _row(name: str, found: Outcome | str) -> str:
    if isinstance(found, str):
        return f"| {name} | **did not hold: {found}** |" + " |" * (2 + len(BLOWS))
    waits = dict(found.waits)
    cells: Iterable[str] = (f"{waits[blow]:g} s" if blow in waits else "–" for blow in BLOWS)
    same = f"{found.results:,}, as undisturbed"
    return f"| {name} | {same} | {found.reads:,} | {len(found.wrong)} | {' | '.join(cells)} |"


def _told(blow: Blow) -> str:
    return " ".join((blow.__doc__ or "").split())


def _words(blow: str) -> str:
    return blow.replace("_", " ")


if __name__ == "__main__":
    raise SystemExit(main())
