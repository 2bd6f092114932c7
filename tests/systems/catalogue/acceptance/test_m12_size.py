"""M12, M14, T1: memory does not grow with the work list, with big parents or with what a trainer reads."""

import subprocess
import sys

import pytest

from tests.systems.catalogue.projects import CatalogueProject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Megabytes that no process may hold.
LIMIT = 500
#: ru_maxrss of the process itself would not do: a new process starts with what its parent, here the tests, held.
MEASURE = """\
import re, resource, limner
from pathlib import Path
with limner.open(".") as app:
    {body}
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) // 1024)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""
STUBS = """\
    class Length:
        version = "1"

        def infer(self, name: list[str]) -> list[dict]:
            return [{"length": len(one)} for one in name]
"""


def megabytes(project: CatalogueProject, body: str) -> int:
    """What the process that runs *body*, and the largest of its children, held at most."""
    code = MEASURE.format(body=body.replace("\n", "\n    "))
    done = subprocess.run([sys.executable, "-c", code], cwd=project.folder, capture_output=True, text=True, check=True)
    return max(int(line) for line in done.stdout.splitlines()[-2:])


def test_m12_streamed_work_list(cat: CatalogueProject) -> None:
    """200,000 ids stay far below the limit; what a million held is noted in the README of these tests."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(
        'Stage("length", infer="stubs:Length", reads={"name": "name"}, outputs={"length": Number()}, '
        "batch=500, task_size=2000)"
    )
    cat.records({"id": f"r{n:07d}", "name": f"n{n}"} for n in range(200_000))

    # when
    held = megabytes(cat, "assert app.run('catalogue', 'records.jsonl').done == 200_000")

    # then
    assert held < LIMIT


def test_m14_big_parents(cat: CatalogueProject) -> None:
    """1,000 images of ten works of 5 MB each: a work is stored once, and read as often as needed."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(
        'Stage("length", infer="stubs:Length", reads={"name": "name"}, outputs={"length": Number()})',
        index='Index(text=["parent.title"])',
    )
    cat.records(
        ({"id": f"w{n}", "title": f"Work {n}", "notes": [f"note {n} " * 10] * 70_000} for n in range(10)),
        name="works.jsonl",
    )
    cat.records(
        {"id": f"i{n}", "name": f"n{n}", "parent": f"w{n % 10}", "parent_collection": "works"} for n in range(1_000)
    )
    assert (cat.folder / "works.jsonl").stat().st_size > 10 * 5_000_000

    # when
    held = megabytes(
        cat,
        "app.run('catalogue', 'works.jsonl', collection='works')\n"
        "assert app.run('catalogue', 'records.jsonl').done == 1_000\n"
        "assert app.search('images', 'work 7').total > 0",
    )

    # then
    assert held < LIMIT


def test_t1_trainer_reads_a_stream(cat: CatalogueProject) -> None:
    """Codes are trained on 100,000 stored vectors without holding them; there is nothing to fetch."""
    # given
    cat.write(
        "stubs.py",
        """\
        import numpy as np

        class Drawn:
            version = "1"

            def infer(self, seed: list[int]) -> list[dict]:
                return [{"vector": self.one(s)} for s in seed]

            def one(self, seed):
                vector = np.random.default_rng(seed % 50).standard_normal(64)
                vector += 0.5 * np.random.default_rng(seed).standard_normal(64)
                return (vector / np.linalg.norm(vector)).astype(np.float32)
        """,
    )
    cat.stages(
        'Stage("features", infer="stubs:Drawn", reads={"seed": "seed"}, outputs={"vector": Vector(unit=True)}, '
        "batch=500, task_size=2000)"
    )
    cat.records({"id": f"v{n:06d}", "seed": n} for n in range(100_000))
    with cat.open() as app:
        app.run("catalogue", cat.folder / "records.jsonl")

    # when
    held = megabytes(
        cat,
        "first = app.train('catalogue.codes', seed=1, sample=10_000)\n"
        "assert app.train('catalogue.codes', seed=1, sample=10_000).version.sha256 == first.version.sha256",
    )

    # then
    assert held < LIMIT
