"""A project whose changes are told: words, their letters, and a stage that fails for one of them."""

import json
from collections.abc import Iterable
from pathlib import Path

import limner
from limner.app.app import App

PIPELINE = """
from limner import Number, Pipeline, Skip, Stage, Text

pipeline = Pipeline("words", collection="my.words", stages=[
    Stage("length", "work:length", reads={"text": "text"}, outputs={"value": Number()}),
    Stage("letters", "work:letters", kind="expand", of="letters", identity=["letter"], reads={"text": "text"}),
    Stage("code", "work:code", over="letters", reads={"letter": "letter"}, outputs={"value": Number()}),
])
"""
INFERRERS = """
class Length:
    version = "1"

    def infer(self, text: list[str]) -> list:
        return [ValueError("no text") if not one else {"value": len(one)} for one in text]


length = Length


def letters(text: str) -> list:
    return [{"letter": letter} for letter in sorted(set(text))]


def code(letter: str) -> dict:
    return {"value": ord(letter)}
"""


class Words:
    """The project, in a folder."""

    def __init__(self, folder: Path, *, events: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.py").write_text(PIPELINE.replace("Skip, ", ""))
        (folder / "work.py").write_text(INFERRERS)
        (folder / "limner.toml").write_text('[pipelines]\nwords = "pipeline.py:pipeline"\n')
        self.app: App = limner.open(folder, events=events)

    def run(self, words: Iterable[tuple[str, str]]) -> None:
        """Take words in by their ids, and infer."""
        source = self.folder / "words.jsonl"
        source.write_text("".join(json.dumps({"id": one, "text": text}) + "\n" for one, text in words))
        self.app.run("words", source)

    def owed(self) -> int:
        """How many entries of the journal were not published."""
        with self.app.store.reading() as tx:
            return len(tx.journal.read(after=tx.journal.taken("events"), limit=100_000))
