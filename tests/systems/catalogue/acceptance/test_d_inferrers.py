"""D: data science stays plain Python, and one more inferrer is one more stage and nothing else."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import limner
from limner.testing.picture_server import PictureServer
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, from_template, numbered_pictures

SHARPNESS = '''\
"""How sharp a picture is, as a number, a vector and a word."""

import numpy as np
from PIL import Image


class Sharpness:
    version = "1"

    def infer(self, image: list[Image.Image]) -> list[dict]:
        return [self.one(np.asarray(picture.convert("L").resize((32, 32)), dtype=np.float32)) for picture in image]

    def one(self, grey):
        steps = np.abs(np.diff(grey, axis=1)).mean(axis=1) + 1e-3
        vector = (steps / np.linalg.norm(steps)).astype(np.float32)
        value = float(steps.mean())
        return {"value": value, "vector": vector, "word": "sharp" if value > 12 else "soft"}
'''
DECLARED = """\
sharpness = Stage(
    "sharpness",
    infer="inferrers.sharpness:Sharpness",
    reads={"image": PICTURE},
    outputs={"value": Number(least=0), "vector": Vector(length=32, unit=True), "word": Text()},
)

pipeline = Pipeline("""


def digest_of_package() -> str:
    """The digest of every source file of limner as it is installed."""
    root = Path(limner.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()


def add_sharpness(project: CatalogueProject) -> None:
    """Add the fourth inferrer to a project, as a user would."""
    project.write("inferrers/sharpness.py", SHARPNESS)
    project.edit("pipeline = Pipeline(", DECLARED)
    project.edit("work_summary],", "work_summary, sharpness],")


def test_d1_plain_inferrer_is_tested_without_a_server(tmp_path: Path) -> None:
    """A new project brings an inferrer of a few lines, and pytest alone tests it."""
    # given
    project = from_template(tmp_path / "cat")

    # when
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_d2_planted_import_is_found(tmp_path: Path) -> None:
    """The new project's contract lets an inferrer import anything but limner."""
    # given
    project = from_template(tmp_path / "cat")
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]

    # when
    clean = subprocess.run(lint, cwd=project.folder, capture_output=True, text=True, check=False)
    project.edit("from PIL import", "import limner\nfrom PIL import", name="inferrers/blur.py")
    planted = subprocess.run(lint, cwd=project.folder, capture_output=True, text=True, check=False)

    # then
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert planted.returncode == 1
    assert "inferrers.blur -> limner" in planted.stdout


@pytest.mark.parametrize("module", ["palette", "aspect_ratio", "codes", "summary"])
def test_d2_shipped_inferrers_know_no_plumbing(module: str) -> None:
    """Loading an inferrer of the system loads no record, queue, store or HTTP of limner."""
    # when
    code = (
        f"import limner.systems.catalogue.{module}, sys; names = ('bus', 'store', 'worker', 'engine', 'app', 'api');"
        "print([name for name in names if f'limner.{name}' in sys.modules], 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # then
    assert done.stdout.strip() == "[] False"


def test_d3_fourth_inferrer(copied: Library) -> None:
    """One more stage in the user's file: planned alone, run alone, explained, exported; taken out, it is gone."""
    # given
    project, count = copied.project, len(copied.ids)
    before, asked = digest_of_package(), copied.server.total()
    add_sharpness(project)

    # when
    with project.open() as app:
        plan = app.plan("catalogue")
        summary = app.run("catalogue")
        why = app.why("images", copied.ids[0], stage="sharpness")
        rows = list(app.records("images"))
        exported = app.export("images", project.folder / "out.jsonl")

    # then
    assert {name: stage.stale for name, stage in plan.stages.items() if stage.stale} == {"sharpness": count}
    assert plan.downloads == 0
    assert (summary.done, summary.inferred) == (count, count)
    assert copied.server.total() == asked
    assert [origin.status for origin in why.origins] == ["done"]
    assert all(set(row.values["sharpness"]) == {"value", "vector", "word"} for row in rows)
    assert exported == count
    line = json.loads((project.folder / "out.jsonl").read_text().splitlines()[0])
    assert set(line["values"]["sharpness"]) == {"value", "vector", "word"}
    assert digest_of_package() == before


def test_d3_removed_stage_retires_its_fields(copied: Library) -> None:
    """A stage that is taken out of the file leaves no field behind, and nothing else is inferred again."""
    # given
    project = copied.project
    with project.open() as app:
        app.run("catalogue")
    project.edit("stages=[palette, features, aspect_ratio,", "stages=[palette, features,")

    # when
    with project.open() as app:
        summary = app.run("catalogue")
        rows = list(app.records("images"))

    # then
    assert summary.inferred == 0
    assert all(set(row.values) == {"palette", "features"} for row in rows)


def test_d4_same_inferrer_from_every_source(cat: CatalogueProject) -> None:
    """A folder, JSON Lines of files and JSON Lines of web addresses give the same values, to the digest."""
    # given
    pictures = numbered_pictures(3)
    folder = cat.folder / "pictures"
    folder.mkdir()
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    digests: dict[str, list[str]] = {}

    with PictureServer(pictures) as server, cat.open(allow_hosts=[server.host]) as app:
        local = cat.records([{"id": f"local-{n}", "image_url": (folder / n).as_uri()} for n in pictures])
        distant = cat.records([{"id": f"far-{n}", "image_url": server.url(n)} for n in pictures], name="far.jsonl")
        for source, prefix in ((folder, ""), (local, "local-"), (distant, "far-")):
            # when
            app.run("catalogue", source)
            whys = [app.why("images", f"{prefix}{name}") for name in pictures]
            digests[prefix] = [
                origin.value_digest for why in whys for origin in sorted(why.origins, key=lambda o: o.stage)
            ]

    # then
    assert len(digests[""]) == 3 * len(pictures)
    assert digests[""] == digests["local-"] == digests["far-"]
