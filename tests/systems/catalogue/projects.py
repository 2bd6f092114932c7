"""Projects that tests run: the catalogue's own template, or one pipeline of a few lines, beside a picture server."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from textwrap import dedent

from PIL import Image

from limner.app.app import App, open_app
from limner.app.running import Summary
from limner.testing.picture_server import PictureServer

#: The head of every pipeline file that a test writes.
IMPORTS = """\
from datetime import timedelta

from limner import *

"""


#: The shipped pipeline's words and kinds of query over vectors that the records bring along.
_GIVEN = """\
from limner import *
from limner.systems.catalogue import system

SOURCE = {"source": "the library's own index"}
words = system.pipelines[0].index
pipeline = Pipeline(
    "catalogue",
    collection="images",
    stages=[
        Stage("palette", infer="given", params=SOURCE, reads={"palette": "given.palette"},
              outputs={"vector": Vector(length=1000, unit=True), "average_color_hex": Text(optional=True)}),
        Stage("features", infer="given", params=SOURCE, reads={"features": "given.features"},
              outputs={"vector": FEATURES}),
    ],
    index=Index(text=words.text, filters=FILTERS, vectors=["features.vector"], encoders=words.encoders),
)
"""


def over_given_vectors(*, filters: str, features: str = "Vector(unit=True)") -> str:
    """A pipeline file that searches by vectors which the records bring along; *filters* and *features* as written."""
    return _GIVEN.replace("FILTERS", filters).replace("FEATURES", features)


class CatalogueProject:
    """A folder with a project in it; whatever a test opens stays open only within its ``with``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pipeline(self) -> Path:
        """The project's pipeline file."""
        return self.folder / "pipeline.py"

    def open(self, **options: object) -> App:
        """The application over the project, with these settings; to be used with ``with``."""
        return open_app(self.folder, **options)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project, indented as it stands in a test."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def stages(self, text: str, *, name: str = "catalogue", index: str = "Index()") -> None:
        """Write a pipeline file whose only pipeline has the stages that *text* lists."""
        listed = dedent(text)
        self.pipeline.write_text(
            f'{IMPORTS}pipeline = Pipeline("{name}", collection="images", index={index}, stages=[\n{listed}\n])\n',
            encoding="utf-8",
        )

    def edit(self, old: str, new: str, *, name: str = "pipeline.py") -> None:
        """Replace *old* by *new* in a file of the project, where it must stand once."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def records(self, rows: Iterable[Mapping[str, object]], *, name: str = "records.jsonl") -> Path:
        """Write *rows* as JSON Lines beside the project."""
        path = self.folder / name
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
        return path

    def copy(self, folder: Path) -> "CatalogueProject":
        """The same project, results and all, in another folder."""
        shutil.copytree(self.folder, folder)
        return CatalogueProject(folder)


def from_template(folder: Path) -> CatalogueProject:
    """A new project as ``limner init --from catalogue`` copies it."""
    with as_file(files("limner.systems.catalogue").joinpath("template")) as template:
        shutil.copytree(template, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return CatalogueProject(folder)


def rows(server: PictureServer, names: Iterable[str]) -> list[dict[str, object]]:
    """A record for each picture of *server*."""
    return [{"id": name, "image_url": server.url(name)} for name in names]


def empty(folder: Path) -> CatalogueProject:
    """A project without a pipeline file."""
    folder.mkdir(parents=True)
    return CatalogueProject(folder)


def limner(project: CatalogueProject, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the project's folder."""
    command = [str(Path(sys.executable).with_name("limner")), *words]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)


class Process:
    """One ``limner`` process over a project: its progress can be waited for, and it can be killed."""

    def __init__(self, project: CatalogueProject, call: str) -> None:
        """Start a process that calls ``app.<call>`` and prints how many records are done as it goes."""
        code = (
            "import limner\n"
            "tell = lambda p: print(p.counts.done, flush=True)\n"
            "with limner.open('.') as app:\n"
            f"    summary = app.{call}\n"
            "print('end', summary.done, summary.failed, flush=True)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=project.folder, stdout=subprocess.PIPE, text=True
        )

    def wait_for(self, done: int) -> None:
        """Wait until so many records are done."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit() and int(line) >= done:
                return
        raise AssertionError(f"the process ended before {done} records were done")

    def kill(self) -> None:
        """Kill it so that it can do nothing about it, and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> tuple[int, int]:
        """Wait for its end: how many records are done, and how many failed."""
        out, _ = self._process.communicate()
        last = out.splitlines()[-1].split()
        assert last[0] == "end", out
        return int(last[1]), int(last[2])


def adds_up(summary: Summary) -> bool:
    """Whether every record of a job ended in exactly one way."""
    return summary.records == summary.done + summary.failed + summary.skipped + summary.cancelled


def plain_picture(colour: tuple[int, int, int], *, size: tuple[int, int] = (24, 18)) -> bytes:
    """A PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def numbered_pictures(count: int) -> dict[str, bytes]:
    """As many small pictures as asked for, no two alike, by name."""
    return {f"p{n:04d}.png": plain_picture((n % 256, (n * 7) % 256, n // 256)) for n in range(count)}
