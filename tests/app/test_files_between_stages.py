"""A file that one stage makes is read by another, of the same record and of its children, and follows its bytes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import limner
from limner.app.app import App

INFERRERS = '''
"""Inferrers of the project."""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def note(what: str) -> None:
    with (HERE / "calls.txt").open("a") as calls:
        calls.write(what + "\\n")


def spectrum(text: str, number: int) -> dict:
    """How often each letter stands in a text; a blank text has none."""
    counted = np.array([text.count(chr(letter)) for letter in range(97, 123)], dtype=np.float32)
    note(f"spectrum {text}")
    return {"file": counted if text else None, "letters": len(text)}


def most(counts: np.ndarray | None) -> dict:
    note("most")
    return {"letter": "" if counts is None else chr(97 + int(counts.argmax()))}


def letters(text: str) -> list:
    return [{"letter": letter} for letter in sorted(set(text))]


def share(letter: str, counts: np.ndarray) -> dict:
    note(f"share {letter}")
    return {"share": float(counts[ord(letter) - 97] / counts.sum())}
'''
PIPELINE = """
from limner import Artifact, Number, Pipeline, Stage, Text, file

pipeline = Pipeline("texts", collection="texts", stages=[
    Stage("spectrum", "inferrers:spectrum", reads={"text": "text", "number": "number"}, outputs={
        "file": Artifact(kind="application/x-npy", optional=True), "letters": Number()}),
    Stage("most", "inferrers:most", reads={"counts": file("spectrum.file")}, outputs={"letter": Text()}),
    Stage("letters", "inferrers:letters", kind="expand", of="letters", identity=["letter"], reads={"text": "text"}),
    Stage("share", "inferrers:share", over="letters",
          reads={"letter": "letter", "counts": file("parent.spectrum.file")}),
])
"""


class Project:
    """A project of texts."""

    def __init__(self, folder: Path) -> None:
        (folder / "inferrers.py").write_text(INFERRERS)
        (folder / "pipeline.py").write_text(PIPELINE)
        (folder / "limner.toml").write_text('[pipelines]\ntexts = "pipeline.py:pipeline"\n')
        self.folder = folder
        self.app: App = limner.open(folder)

    def run(self, *rows: dict[str, object]) -> list[str]:
        """Run over these records; what was called, in order of the alphabet."""
        source = self.folder / "texts.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        calls = self.folder / "calls.txt"
        calls.write_text("")
        summary = self.app.run("texts", source)
        assert summary.failed == 0
        return sorted(calls.read_text().splitlines())

    def values(self, collection: str, stage: str, name: str) -> dict[str, object]:
        """A value of every record of a collection, by the record's id or its letter."""
        rows = self.app.records(collection)
        return {row.record.fields.get("letter", row.record.id): row.values[stage][name] for row in rows}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project that is closed after the test."""
    made = Project(tmp_path)
    yield made
    made.app.close()


def test_a_stage_reads_the_file_that_another_made(project: Project) -> None:
    """The record's own stage and its children's read the same artifact; one that was not made is None."""
    # when
    texts = {"a": "abba", "b": "xyzzy", "blank": ""}
    project.run(*({"id": identity, "text": text, "number": 1} for identity, text in texts.items()))

    # then
    assert project.values("texts", "most", "letter") == {"a": "a", "b": "y", "blank": ""}
    assert project.values("letters", "share", "share") == pytest.approx(
        {"a": 0.5, "b": 0.5, "x": 0.2, "y": 0.4, "z": 0.4}
    )
    reference = project.values("texts", "spectrum", "file")["a"]
    assert isinstance(reference, dict)
    assert (reference["bytes"], reference["kind"]) == (128 + 26 * 4, "application/x-npy")


def test_the_same_bytes_stop_the_wave(project: Project) -> None:
    """A stage that makes the same file again makes nothing stale that reads it; another file does."""
    project.run({"id": "a", "text": "abba", "number": 1})

    same = project.run({"id": "a", "text": "abba", "number": 2})
    other = project.run({"id": "a", "text": "abbb", "number": 2})

    assert same == ["spectrum abba"]
    assert other == ["most", "share a", "share b", "spectrum abbb"]
    assert project.values("texts", "most", "letter") == {"a": "b"}
    assert project.values("letters", "share", "share") == {"a": 0.25, "b": 0.75}
