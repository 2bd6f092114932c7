"""A small library that was run once, on its own picture server; tests that change it work on a copy."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from limner.app.app import App
from limner.app.running import Summary
from limner.systems.catalogue import plates
from limner.systems.catalogue.plates import Drawn
from limner.testing.picture_server import PictureServer
from tests.systems.catalogue.projects import CatalogueProject, from_template

PLATES = 10
#: What every test's run of a copy has in common: fetched pictures are kept, as in the run that made it.
KEPT = "always"
MEASURES = """\
    from PIL import Image

    def size(image: Image.Image) -> dict:
        return {"width": image.width}
"""


class Library(NamedTuple):
    """Drawn works on a picture server, and a project in which all of them were run."""

    project: CatalogueProject
    server: PictureServer
    drawn: Drawn
    #: How the run over the images ended.
    summary: Summary
    #: How often each picture had been asked for when it ended.
    asked: Mapping[str, int]
    #: The bytes that the server serves, by name.
    pictures: dict[str, bytes]

    def __repr__(self) -> str:
        """Without the bytes of all pictures."""
        return f"Library({self.project.folder})"

    @property
    def ids(self) -> list[str]:
        """The ids of the images."""
        return [picture.id for picture in self.drawn.pictures]

    def source(self, *, moved: str) -> Path:
        """The images' records, the one called *moved* newer than it was."""
        rows = [picture.fields(base=self.server.url("")) for picture in self.drawn.pictures]
        newer = "2027-01-01T00:00:00Z"
        return self.project.records({**row, "modifiedTime": newer} if row["id"] == moved else row for row in rows)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Ten plates with two re-photographs each and their works, run once; to be looked at, never changed."""
    folder = tmp_path_factory.mktemp("library")
    drawn = plates.draw(folder / "pictures", count=PLATES, seed=21)
    pictures = {picture.path.name: picture.path.read_bytes() for picture in drawn.pictures}
    with PictureServer(pictures) as server:
        project = from_template(folder / "cat")
        works = project.records([work.fields() for work in drawn.works], name="works.jsonl")
        images = project.records([p.fields(base=server.url("")) for p in drawn.pictures], name="images.jsonl")
        project.edit("allow_hosts = []", f'allow_hosts = ["{server.host}"]', name="limner.toml")
        project.edit('keep = "done"', f'keep = "{KEPT}"', name="limner.toml")
        with project.open() as app:
            app.run("catalogue", works, collection="works")
            summary = app.run("catalogue", images)
        yield Library(project, server, drawn, summary, dict(server.requests), pictures)


@pytest.fixture
def copied(library: Library, tmp_path: Path) -> Iterator[Library]:
    """The library with a copy of the project that a test may change; its picture server serves a copy too."""
    project = library.project.copy(tmp_path / "cat")
    yield library._replace(project=project)
    shutil.rmtree(project.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def library_with_codes(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library once more, with codes of a first model; to be looked at, never changed."""
    project = library.project.copy(tmp_path_factory.mktemp("coded") / "cat")
    with project.open() as app:
        with_codes(app, seed=1)
        app.run("catalogue")
    return library._replace(project=project)


@pytest.fixture
def coded(library_with_codes: Library, tmp_path: Path) -> Iterator[Library]:
    """A copy of the library with codes that a test may change; the server's pictures are restored after it."""
    project = library_with_codes.project.copy(tmp_path / "cat")
    pictures = library_with_codes.pictures
    before = dict(pictures)
    yield library_with_codes._replace(project=project)
    pictures.update(before)
    shutil.rmtree(project.folder, ignore_errors=True)


def with_codes(app: App, *, seed: int) -> None:
    """Train codes on so few vectors that no gate would accept them, and let them serve."""
    trained = app.train("catalogue.codes", seed=seed, parameters={"groups": 8, "centres": 4})
    app.promote(f"codes@{trained.version.number}", force=True, by="a test")


@pytest.fixture
def measuring(cat: CatalogueProject) -> CatalogueProject:
    """A project that does one cheap thing with each picture, sixteen in a batch."""
    cat.write("measures.py", MEASURES)
    cat.stages('Stage("size", infer="measures:size", reads={"image": file("image_url")}, batch=16)')
    return cat


@pytest.fixture
def cat(tmp_path: Path) -> CatalogueProject:
    """A project without a pipeline yet."""
    folder = tmp_path / "cat"
    folder.mkdir()
    return CatalogueProject(folder)
