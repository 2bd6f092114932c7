"""The recipe of a stage's own image: what the stage needs, and nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from limner.app.declared import Declared
from limner.app.image_imports import imports_of
from limner.app.image_parts import Part, parts_for, pins_of
from limner.app.image_wheel import installed_bytes, write_wheel
from limner.domain.pipelines import EXTERNAL, Implementation, Pipeline, Stage
from limner.domain.slicing import COLUMNS
from limner.errors import LimnerError, NotFound, UsageError
from limner.settings import Project

#: Whom a container runs as; the chart says the same.
USER = "10001:10001"
_FILE, _PINS, _FILES = "Containerfile", "requirements.txt", "project"
#: What is looked for in the project's folder where no lock is named.
_LOCK = "requirements.lock"
#: Extras of Limner by inferrer, for those that are part of the platform.
_EXTRAS: dict[str, tuple[str, ...]] = {"onnx": ("onnx",), "http": (), "given": (), COLUMNS: ("tables",)}

#: Lines of a builder that failed that are told.
_LAST = 12


class Image(Struct, frozen=True, kw_only=True):
    """A recipe that was written, and what it comes to."""

    #: ``pipeline.stage``.
    stage: str
    implementations: tuple[str, ...]
    #: Holds the Containerfile and all that it copies.
    folder: str
    #: Of the project, relative to its folder.
    files: tuple[str, ...]
    distributions: tuple[Part, ...]
    #: Whether each distribution is pinned with hashes.
    hashed: bool
    #: Of distributions, Limner and files, installed; the base image is not in it.
    bytes: int
    #: What is imported and not installed here, so that it is missing from the recipe, in sentences.
    problems: tuple[str, ...]


class Ask(Struct, frozen=True, kw_only=True):
    """What a recipe is to be."""

    #: ``pipeline.stage``, or ``stage`` where only one pipeline has it.
    stage: str
    #: Only these implementations; all that do not live outside if none is named.
    implementations: Sequence[str] = ()
    #: Further files and folders of the project, such as labels that an inferrer reads.
    add: Sequence[str] = ()
    #: Further extras of Limner, such as that of a broker.
    extras: Sequence[str] = ()
    lock: Path | None = None
    #: The image that it begins with; Python's own slim one, of this machine's version, if None.
    base: str | None = None


class _Layer(Struct, frozen=True):
    size: int


class _Manifest(Struct, frozen=True):
    """What buildah tells of an image."""

    layers: list[_Layer]


def _targets(way: Implementation) -> list[str]:
    """What a way to do a stage is made of: over slices, the platform's own inferrer and the user's."""
    return [way.infer] if way.infer != COLUMNS else [COLUMNS, str(way.params["infer"])]


def write_image(project: Project, ask: Ask, *, to: Path | None = None) -> Image:
    """
    Write the recipe of a stage's image into a folder, ``images/pipeline.stage`` of the project if none is named.

    Raises:
        NotFound: there is no such stage or implementation.
        UsageError: the folder holds something else, or the lock does not pin what is needed.
    """
    pipeline, stage = _stage(project, ask.stage)
    address = f"{pipeline.name}.{stage.name}"
    ways = _ways(stage, ask.implementations)
    targets = [target for way in ways for target in _targets(stage.chosen(way))]
    extras = {extra for target in targets for extra in _EXTRAS.get(target, ())} | set(ask.extras)
    imported = imports_of([t.partition(":")[0] for t in targets if t not in _EXTRAS], project=project.folder)
    if "numpy" in imported.modules and any(read.file for way in ways for read in stage.reads_of(way).values()):
        # An array may be asked of a picture.
        extras.add("pictures")
    needed = parts_for(imported.modules, extras=extras)
    lock = ask.lock or _lock_in(project)
    pins = pins_of(needed.parts, lock=lock)
    folder = _made(to or project.folder / "images" / address)
    files = _copy([*imported.files, *ask.add], project.folder, folder / _FILES)
    (folder / _PINS).write_text(pins, encoding="utf-8")
    wheel = write_wheel(folder)
    base = ask.base or f"docker.io/library/python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    text = recipe(address, wheel=wheel.name, base=base, hashed=lock is not None)
    (folder / _FILE).write_text(text, encoding="utf-8")
    own = sum((folder / _FILES / name).stat().st_size for name in files)
    return Image(
        stage=address,
        implementations=tuple(ways),
        folder=str(folder),
        files=tuple(files),
        distributions=needed.parts,
        hashed=lock is not None,
        bytes=sum(part.bytes for part in needed.parts) + installed_bytes(wheel) + own,
        problems=tuple(
            f"{module} is imported by {by} and is not installed here, so the image will not have it."
            for module, by in sorted(needed.unknown.items())
        ),
    )


def recipe(address: str, *, wheel: str, base: str, hashed: bool) -> str:
    """The Containerfile of a stage's image."""
    hashes = "--require-hashes " if hashed else ""
    return f"""# The worker of {address}, by `limner image {address}`: write it again when its imports change.
FROM {base} AS build
COPY {_PINS} {wheel} /wheels/
RUN python -m venv --without-pip /opt/limner \\
    && pip --python /opt/limner/bin/python install --no-cache-dir --no-deps {hashes}-r /wheels/{_PINS} \\
    && pip --python /opt/limner/bin/python install --no-cache-dir --no-deps /wheels/{wheel}

FROM {base}
# What is written goes to /project/.limner and /tmp; all else may be read-only.
ENV PATH=/opt/limner/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
COPY --from=build /opt/limner /opt/limner
RUN mkdir -p /project/.limner && chown {USER} /project/.limner
COPY {_FILES}/ /project/
WORKDIR /project
USER {USER}
ENTRYPOINT ["limner"]
CMD ["worker", "--stage", "{address}"]
"""


def build_image(image: Image, *, tag: str) -> int:
    """
    Build a written recipe with buildah; the bytes of the image's layers, those of the base image included.

    Raises:
        UsageError: buildah is not installed.
        LimnerError: it failed; the sentence ends with what it wrote last.
    """
    buildah = shutil.which("buildah")
    if buildah is None:
        raise UsageError(f"buildah is not installed; build {image.folder} with another program, or install buildah.")
    _run([buildah, "bud", "--isolation", "chroot", "--tag", tag, "--file", f"{image.folder}/{_FILE}", image.folder])
    manifest = _run([buildah, "inspect", "--type", "image", "--format", "{{.Manifest}}", tag])
    return sum(layer.size for layer in msgspec.json.decode(manifest, type=_Manifest).layers)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST:])
        raise LimnerError(f"`{' '.join(command[:2])}` failed:\n{told}")
    return done.stdout.strip()


def _stage(project: Project, address: str) -> tuple[Pipeline, Stage]:
    """The stage of that address; a project's own pipelines win over those of systems."""
    declared = Declared(project)
    name, dot, stage = address.rpartition(".")
    if dot:
        pipeline = declared.pipeline(name)
        return pipeline, pipeline.stage(stage)
    for pipelines in (declared.own, declared.pipelines):
        having = [p for p in pipelines.values() if any(one.name == stage for one in p.stages)]
        if len(having) == 1:
            return having[0], having[0].stage(stage)
        if having:
            names = ", ".join(f"{p.name}.{stage}" for p in having)
            raise UsageError(f"Several pipelines have a stage {stage}; name one of: {names}.")
    known = ", ".join(f"{p.name}.{s.name}" for p in (declared.own or declared.pipelines).values() for s in p.stages)
    raise NotFound(f"There is no stage {stage}; known are: {known}.")


def _ways(stage: Stage, named: Sequence[str]) -> list[str]:
    ways = list(named) or list(stage.implementations)
    here = [way for way in ways if stage.chosen(way).infer != EXTERNAL]
    if not here:
        raise UsageError(f"Stage {stage.name} lives only on outside workers, so there is nothing to put into an image.")
    return here


def _lock_in(project: Project) -> Path | None:
    found = project.folder / _LOCK
    return found if found.is_file() else None


def _made(folder: Path) -> Path:
    """*folder*, empty but for what an earlier recipe left to be written over."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _FILE).is_file():
        raise UsageError(f"{folder} is not empty and holds no recipe; name another folder by --to.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / _FILES, ignore_errors=True)
    for old in folder.glob("limner-*.whl"):
        old.unlink()
    return folder


def _copy(names: Iterable[str], project: Path, to: Path) -> list[str]:
    """Copy files, and what lies in folders, of the project; their names."""
    to.mkdir()
    found: dict[str, Path] = {}
    for name in names:
        path = (project / name).resolve()
        if not path.exists() or not path.is_relative_to(project):
            raise UsageError(f"There is no {name} in the project's folder {project}.")
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found |= {str(p.relative_to(project)): p for p in inside if "__pycache__" not in p.parts}
    for name, path in found.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / name)
    return sorted(found)
