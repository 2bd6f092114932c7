"""``limner image``: a recipe holds what a stage needs, pinned, and nothing else."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from limner.app.image_parts import holds
from limner.app.imaging import Ask, Image, recipe, write_image
from limner.errors import NotFound, UsageError
from limner.settings import load_project
from tests.cli.cases import limner
from tests.conftest import REPOSITORY

PIPELINE = """
from limner import Implementation, Number, Pipeline, Stage, file

outputs = {"value": Number()}
pipeline = Pipeline("things", collection="things", stages=[
    Stage("plain", infer="shop.plain:count", reads={"text": "text"}, outputs=outputs),
    Stage("seen", infer="seen:Seen", reads={"image": file("url")}, outputs=outputs),
    Stage("model", infer="onnx", model="m@champion", reads={"image": file("url")}, outputs=outputs),
    Stage("odd", infer="odd:odd", reads={"text": "text"}, outputs=outputs),
    Stage("mixed", reads={"text": "text"}, outputs=outputs,
          implementations={"own": Implementation(infer="shop.plain:count"), "far": Implementation(infer="external")}),
    Stage("theirs", infer="external", reads={"text": "text"}, outputs=outputs),
])
"""
SOURCES = {
    "pipeline.py": PIPELINE,
    "shop/__init__.py": "",
    "shop/plain.py": "import json\n\nfrom . import words\nfrom .words import size\n\n\ndef count(text: str) -> dict:\n"
    '    return {"value": size(text)}\n',
    "shop/words.py": "def size(text):\n    from shop.deep import inner\n    return inner.count(text)\n",
    "shop/deep/__init__.py": "",
    "shop/deep/inner.py": "count = len\n",
    "shop/unused.py": "import scipy\n",
    "seen.py": 'class Seen:\n    def infer(self, image: "list[PIL.Image.Image]") -> list[dict]:\n        return []\n',
    "odd.py": "import numpy.linalg\nimport nowhere_to_be_had\n\n\ndef odd(text: str) -> dict:\n    return {}\n",
    "labels/a.txt": "a",
    "secret.txt": "not to be copied",
}
LOCK = REPOSITORY / "requirements.lock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose stages need different things."""
    folder = tmp_path / "project"
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def written(folder: Path, stage: str, **more: object) -> Image:
    """The recipe of a stage of the project in *folder*."""
    return write_image(load_project(folder, environment={}), Ask(stage=stage, **more))  # type: ignore[arg-type]  # each test names what Ask has


def names(image: Image) -> set[str]:
    """The distributions of an image."""
    return {part.name for part in image.distributions}


def test_files_are_those_that_the_stage_imports(folder: Path) -> None:
    """Packages, relative imports and imports within functions are followed; what nobody imports stays out."""
    # when
    image = written(folder, "plain")

    # then
    assert image.files == (
        "shop/__init__.py",
        "shop/deep/__init__.py",
        "shop/deep/inner.py",
        "shop/plain.py",
        "shop/words.py",
    )
    copied = Path(image.folder) / "project"
    assert sorted(str(p.relative_to(copied)) for p in copied.rglob("*") if p.is_file()) == list(image.files)


def test_each_stage_has_its_own_parts(folder: Path) -> None:
    """Who reads text needs no pictures, who reads pictures no models; none needs the server."""
    plain, seen, model = (names(written(folder, stage)) for stage in ("plain", "seen", "model"))
    assert not {"numpy", "pillow", "onnxruntime", "fastapi", "uvicorn"} & plain
    assert {"msgspec", "httpx"} <= plain
    assert seen - plain == {"numpy", "pillow"}
    assert {"onnxruntime", "numpy", "pillow"} <= model
    assert "scipy" not in plain | seen | model


def test_an_inferrer_of_a_system_needs_no_more_than_it_imports(tmp_path: Path) -> None:
    """The palette of the catalogue needs pictures, and neither the server nor what trains models."""
    # when
    image = write_image(
        load_project(tmp_path, environment={}), Ask(stage="catalogue.palette", implementations=["exact"])
    )

    # then
    assert {"numpy", "pillow"} <= names(image)
    assert not {"scikit-learn", "onnxruntime", "fastapi", "usearch"} & names(image)
    assert image.files == ()


def test_what_is_asked_for_goes_in(folder: Path) -> None:
    """Files that are named go in, and the extra by which a worker reaches its broker."""
    # when
    image = written(folder, "plain", add=["labels"], extras=["rabbitmq"])

    # then
    assert "labels/a.txt" in image.files
    assert "pika" in names(image)
    with pytest.raises(UsageError, match=r"no extra rabbit; it has: .*rabbitmq"):
        written(folder, "plain", extras=["rabbit"])


def test_a_file_outside_the_project_is_refused(folder: Path) -> None:
    """What is copied lies in the project's folder."""
    with pytest.raises(UsageError, match=r"There is no \.\./other"):
        written(folder, "plain", add=["../other"])


def test_what_cannot_be_had_is_named(folder: Path) -> None:
    """An import that is not installed here is told with the file that imports it; the rest is written."""
    # when
    image = written(folder, "odd")

    # then
    assert image.problems == (
        "nowhere_to_be_had is imported by odd.py and is not installed here, so the image will not have it.",
    )
    assert "numpy" in names(image)


def test_the_size_is_what_the_files_come_to(folder: Path) -> None:
    """The sum of distributions, Limner and the project's files, each counted once."""
    # given
    image = written(folder, "plain")
    (wheel,) = Path(image.folder).glob("*.whl")

    # when
    with zipfile.ZipFile(wheel) as archive:
        own = sum(int(e.file_size * (2.2 if e.filename.endswith(".py") else 1)) for e in archive.infolist())
    files = sum((folder / name).stat().st_size for name in image.files)

    # then
    assert image.bytes == pytest.approx(sum(part.bytes for part in image.distributions) + own + files, abs=1000)
    assert all(part.bytes for part in image.distributions)


def test_pins_are_those_of_the_lock(folder: Path) -> None:
    """Every part is pinned as the lock has it, with every hash, and nothing else is."""
    # given
    lock = LOCK.read_text(encoding="utf-8")

    # when
    image = written(folder, "seen", lock=LOCK)
    pins = (Path(image.folder) / "requirements.txt").read_text(encoding="utf-8")

    # then
    assert image.hashed
    assert {line.partition("==")[0] for line in pins.splitlines() if not line.startswith(" ")} == names(image)
    for line in pins.splitlines():
        assert line.rstrip(" \\") in lock
    assert pins.count("--hash") > len(names(image))
    assert not pins.rstrip().endswith("\\")


def test_the_lock_of_the_project_is_found(folder: Path) -> None:
    """A requirements.lock in the project's folder pins the image unasked; without one, what is installed does."""
    assert not written(folder, "plain").hashed
    (folder / "requirements.lock").write_bytes(LOCK.read_bytes())
    assert written(folder, "plain").hashed


def test_a_lock_that_lacks_a_part_is_refused(folder: Path, tmp_path: Path) -> None:
    """An image is never half pinned."""
    lock = tmp_path / "small.lock"
    lock.write_text("httpx==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"does not pin .*msgspec"):
        written(folder, "plain", lock=lock)


def test_the_wheel_is_whole_and_always_the_same(folder: Path) -> None:
    """Its list of files is right, by which an installer compares it, and the same code makes the same bytes."""
    # given
    (wheel,) = Path(written(folder, "plain").folder).glob("*.whl")
    first = wheel.read_bytes()

    # when
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        listed = [line.rsplit(",", 2) for line in archive.read(record).decode().splitlines()]
        digests = {name: hashlib.sha256(archive.read(name)).digest() for name in archive.namelist()}
    written(folder, "plain")

    # then
    assert {name for name, _, _ in listed} == set(digests)
    for name, digest, _ in listed:
        told = digest.removeprefix("sha256=")
        assert name == record or base64.urlsafe_b64encode(digests[name]).rstrip(b"=").decode() == told
    assert wheel.read_bytes() == first


def test_a_recipe_is_written_over_and_nothing_else_is(folder: Path) -> None:
    """A second writing leaves nothing of the first; a folder of something else is left alone."""
    # given
    image = written(folder, "plain", add=["labels"])
    other = folder / "labels"
    assert (Path(image.folder) / "project" / "labels").exists()

    # then
    again = Path(written(folder, "plain").folder)
    assert (str(again), (again / "project" / "labels").exists()) == (image.folder, False)
    with pytest.raises(UsageError, match="holds no recipe"):
        write_image(load_project(folder, environment={}), Ask(stage="plain"), to=other)
    assert (other / "a.txt").read_text() == "a"


def test_what_lives_outside_has_no_image(folder: Path) -> None:
    """Implementations of outside workers are left out; a stage that has no other is refused."""
    assert written(folder, "mixed").implementations == ("own",)
    with pytest.raises(UsageError, match="only on outside workers"):
        written(folder, "theirs")


def test_an_unknown_stage_is_told_the_known_ones(folder: Path) -> None:
    """A name that is misspelt is answered with those that there are."""
    with pytest.raises(NotFound, match=r"things\.plain"):
        written(folder, "plane")


def test_builders_find_nothing_wrong(folder: Path, tmp_path: Path) -> None:
    """hadolint is content with the recipe of a stage, pinned with hashes or without, and with that of the server."""
    # given
    written(folder, "plain", lock=LOCK)
    pinned = folder / "images" / "things.plain" / "Containerfile"
    loose = tmp_path / "Containerfile"
    loose.write_text(recipe("things.seen", wheel="limner-1-py3-none-any.whl", base="python:3.12-slim", hashed=False))

    # when
    command = [
        str(Path(sys.executable).parent / "hadolint"),
        *map(str, (pinned, loose, REPOSITORY / "deploy/Containerfile")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    # then
    assert (done.returncode, done.stdout) == (0, "")


def test_the_verb_says_what_was_written(folder: Path) -> None:
    """The document of the command names the folder, the parts with their sizes, and the sum."""
    # when
    told = limner("image", "things.plain", "--json", project=folder).document()

    # then
    assert (told["stage"], told["implementations"]) == ("things.plain", ["default"])
    assert Path(str(told["folder"]), "Containerfile").is_file()
    assert told["bytes"] > sum(part["bytes"] for part in told["distributions"])


def test_without_a_builder_the_recipe_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where buildah is missing a sentence says so, and what was written can be built by another program."""
    # given
    monkeypatch.setenv("PATH", "")

    # when
    typed = limner("image", "plain", "--build", "plain", project=folder)

    # then
    assert typed.status == 2
    assert "buildah is not installed" in typed.err
    assert (folder / "images" / "things.plain" / "Containerfile").is_file()


@pytest.mark.parametrize(
    ("marker", "extras", "true"),
    [
        ("", (), True),
        ('extra == "server"', (), False),
        ('extra == "server"', ("server",), True),
        ("sys_platform == 'plan9'", (), False),
        ('sys_platform != "plan9" and extra == "server"', ("onnx", "server"), True),
        ('python_version < "3.9"', (), False),
        ('python_version >= "3.9"', (), True),
        ('python_full_version > "3.9.0" and python_full_version <= "9.10"', (), True),
        ('python_version == "3.1" or os_name == "none"', (), False),
        ('"x" not in sys_platform', (), "x" not in sys.platform),
        ('python_version ~= "3.9"', (), True),
    ],
)
def test_markers_are_judged_for_this_machine(marker: str, extras: tuple[str, ...], true: bool) -> None:
    """A requirement counts where its marker is true here; one that is not understood counts."""
    assert holds(marker, extras=frozenset(extras)) is true
