"""PF: the failures that the original told of, replayed: nothing is lost, and only the truly bad ones fail."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import pytest

from limner.systems.catalogue import odd_pictures
from limner.testing.picture_server import PictureServer, Reply
from tests.systems.catalogue.projects import CatalogueProject, Process, adds_up, plain_picture

STUBS = """\
    import os
    from pathlib import Path

    import numpy as np
    from PIL import Image

    def measure(image: bytes) -> dict:
        return {"bytes": len(image)}

    class Misbehaving:
        version = "1"

        def infer(self, image: list[Image.Image], infer: list[str]) -> list:
            with open("calls.log", "a") as log:
                log.write("".join(f"{kind}\\n" for kind in infer))
            return [self.one(picture, kind) for picture, kind in zip(image, infer)]

        def one(self, picture, kind):
            vector = np.array([3.0, 4.0], dtype=np.float32) / 5
            if kind == "kill":
                os._exit(9)
            if kind == "raise":
                return ValueError("the model has no answer for this one")
            return {"vector": {"nan": vector * np.nan, "short": vector[:1]}.get(kind, vector)}
"""
FAST = "retry=RetryPolicy(delay=timedelta(seconds=0.05))"


class Fault(TypedDict):
    """One record of a fault plan: what server and inferrer do about it, and its failure code, None if it is done."""

    id: str
    http: list[int | str]
    body: list[str]
    infer: str
    code: str | None


#: What the server sends, by the names that a fault plan uses.
BODIES = {"empty": "empty", "html": "html", "truncated": "cut", "huge": "huge", "picture": "picture"}
#: Kind of fault: what the server says, what it sends, what the inferrer does, and how the record must end.
KINDS: Mapping[str, tuple[list[int | str], list[str], str, str | None]] = {
    "ok": ([200], ["picture"], "ok", None),
    "reset-then-200": (["reset", 200], ["picture"], "ok", None),
    "503-503-200": ([503, 503, 200], ["picture"], "ok", None),
    "429-retry-after-1s": ([429, 200], ["picture"], "ok", None),
    "empty-then-picture": ([200], ["empty", "picture"], "ok", None),
    "html-then-picture": ([200], ["html", "picture"], "ok", None),
    "empty-always": ([200], ["empty"], "ok", "SOURCE_TRUNCATED"),
    "truncated-always": ([200], ["truncated"], "ok", "SOURCE_TRUNCATED"),
    "html-always": ([200], ["html"], "ok", "SOURCE_WRONG_TYPE"),
    "404": ([404], ["html"], "ok", "SOURCE_NOT_FOUND"),
    "410": ([410], ["html"], "ok", "SOURCE_NOT_FOUND"),
    "over-byte-cap": ([200], ["huge"], "ok", "SOURCE_TOO_LARGE"),
    "pixel-bomb": ([200], ["bomb"], "ok", "SOURCE_TOO_LARGE"),
    "nan-vector": ([200], ["picture"], "nan", "OUTPUT_INVALID"),
    "short-vector": ([200], ["picture"], "short", "OUTPUT_INVALID"),
    "raises": ([200], ["picture"], "raise", "MODEL_ERROR"),
    "kills-the-process": ([200], ["picture"], "kill", "ATTEMPTS_EXHAUSTED"),
}
#: How many of each fault the project's own plan holds; what is left is fine.
SHARES = {
    "reset-then-200": 3,
    "503-503-200": 6,
    "429-retry-after-1s": 3,
    "empty-then-picture": 4,
    "html-then-picture": 3,
    "empty-always": 3,
    "truncated-always": 2,
    "html-always": 2,
    "404": 4,
    "410": 1,
    "over-byte-cap": 1,
    "pixel-bomb": 1,
    "nan-vector": 2,
    "short-vector": 1,
    "raises": 2,
    "kills-the-process": 1,
}


def own_plan(count: int, *, seed: int) -> list[Fault]:
    """As many records as asked for, the faults of SHARES among them in a drawn order."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    kinds += ["ok"] * (count - len(kinds))
    random.Random(seed).shuffle(kinds)
    plan: list[Fault] = []
    for number, kind in enumerate(kinds):
        http, body, infer, code = KINDS[kind]
        plan.append({"id": f"r{number:04d}", "http": http, "body": body, "infer": infer, "code": code})
    return plan


def replies(http: list[int | str], bodies: list[str]) -> list[Reply]:
    """What the server answers, one after another; the last goes on for ever."""
    made = []
    for number in range(max(len(http), len(bodies))):
        status, body = http[min(number, len(http) - 1)], bodies[min(number, len(bodies) - 1)]
        if status == "reset":
            made.append(Reply(reset=True))
        elif status == 200:
            made.append(Reply(body=BODIES.get(body, "picture")))
        else:
            made.append(Reply(status=int(status), body=BODIES.get(body, "picture"), retry_after=_asks(status)))
    return made


def _asks(status: int | str) -> str | None:
    return "1" if status == 429 else None


def serve(server: PictureServer, plan: Iterable[Fault]) -> None:
    """Let *server* misbehave as *plan* says."""
    for row in plan:
        server.plan(f"{row['id']}.png", *replies(row["http"], row["body"]))


def misbehaving(project: CatalogueProject) -> None:
    """Let the project's only stage do what each record asks for."""
    project.write("stubs.py", STUBS)
    project.stages(
        'Stage("measure", infer="stubs:Misbehaving", reads={"image": file("image_url"), "infer": "infer"}, '
        f'outputs={{"vector": Vector(length=2, unit=True)}}, batch=16, task_size=32, {FAST})'
    )


def run_plan(project: CatalogueProject, plan: list[Fault], *, bomb: bytes, kill_at: int | None) -> None:
    """Run *plan*, killed once on the way if asked, and compare every record's end with it."""
    misbehaving(project)
    pictures = {f"{row['id']}.png": plain_picture((n % 256, n // 256, 7)) for n, row in enumerate(plan)}
    pictures |= {f"{row['id']}.png": bomb for row in plan if row["body"] == ["bomb"]}
    with PictureServer(pictures) as server:
        serve(server, plan)
        project.write("limner.toml", f'allow_hosts = ["{server.host}"]\nper_host = 16\n')
        rows = [{"id": r["id"], "infer": r["infer"], "image_url": server.url(f"{r['id']}.png")} for r in plan]
        source = project.records(rows)

        # when
        if kill_at is not None:
            killed = Process(project, "run('catalogue', 'records.jsonl', progress=tell)")
            killed.wait_for(kill_at)
            killed.kill()
        with project.open() as app:
            summary = app.run("catalogue", source)
            codes = {row.id: row.code for row in app.failures(summary.job)}
            done = {row.record.id for row in app.records("images") if row.values}

    # then
    bad = {row["id"]: row["code"] for row in plan if row["code"]}
    assert codes == bad
    assert done == {row["id"] for row in plan} - set(bad)
    assert adds_up(summary)
    assert (summary.records, summary.failed) == (len(plan), len(bad))


@pytest.fixture
def bomb(tmp_path: Path) -> bytes:
    """A picture whose header promises more pixels than anyone would decode."""
    odd_pictures.odd(tmp_path / "odd")
    return (tmp_path / "odd" / "bomb.png").read_bytes()


def test_pf3_own_fault_plan(cat: CatalogueProject, bomb: bytes) -> None:
    """A seeded plan of every kind of fault, killed once on the way: each record ends as the plan says."""
    run_plan(cat, own_plan(200, seed=11), bomb=bomb, kill_at=60)


@pytest.mark.real_data
def test_pf3_given_fault_plan(cat: CatalogueProject, bomb: bytes, shared_data: Path) -> None:
    """The 300 records of the given plan: 280 done, 20 failed, each with its code."""
    # given
    lines = (shared_data / "catalogue" / "fault_plan.jsonl").read_text().splitlines()

    # then
    run_plan(cat, [json.loads(line) for line in lines], bomb=bomb, kill_at=None)


def replay(project: CatalogueProject, *, tasks: int, size: int, bad: int) -> None:
    """Run tasks of *size* records, one endlessly empty picture in each of *bad* tasks; repair; retry."""
    count = tasks * size
    project.write("stubs.py", STUBS)
    project.stages(
        'Stage("measure", infer="stubs:measure", reads={"image": file("image_url")}, '
        f'outputs={{"bytes": Number()}}, batch={size}, task_size={size}, {FAST})'
    )
    local = project.folder / "plate.png"
    local.write_bytes(plain_picture((5, 6, 7)))
    broken = {number * size + size // 2 for number in range(bad)}
    pictures = {f"{n}.png": plain_picture((1, 1, 1)) for n in broken}
    with PictureServer(pictures) as server, project.open(allow_hosts=[server.host]) as app:
        for name in pictures:
            server.plan(name, Reply(body="empty"))
        rows = (
            {"id": f"{n:06d}", "image_url": server.url(f"{n}.png") if n in broken else local.as_uri()}
            for n in range(count)
        )

        # when
        first = app.run("catalogue", project.records(rows))
        codes = {row.code for row in app.failures(first.job)}
        for name in pictures:
            server.plan(name)
        again = app.retry(first.job)

    # then
    assert (first.done, first.failed) == (count - bad, bad)
    assert codes == {"SOURCE_TRUNCATED"}
    assert (again.done, again.failed) == (count, 0)
    # The healthy ones were called once in all: what was inferred is one output a record.
    assert again.inferred == count


def test_pf1_one_empty_picture_in_each_part(cat: CatalogueProject) -> None:
    """A twentieth of the replay below: 4,800 records, 2 of 16 tasks with an endlessly empty picture."""
    replay(cat, tasks=16, size=300, bad=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pf1_thirty_of_three_hundred_and_thirty_three(cat: CatalogueProject) -> None:
    """99,900 records in tasks of 300, one endless empty 200 in each of 30: 99,870 done, then, mended, all."""
    replay(cat, tasks=333, size=300, bad=30)
