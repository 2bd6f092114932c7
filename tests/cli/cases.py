"""What the tests of the command line share: a small project, and ways to type a command."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from typer.testing import CliRunner

from limner.cli.main import app

#: Fails a record whose text stands in the file ``broken`` beside the project; counts its calls in ``calls``.
INFERRERS = """
import time
from pathlib import Path

HERE = Path(__file__).parent


class Shout:
    version = "1"

    def infer(self, text: list[str]) -> list:
        with (HERE / "calls").open("a") as calls:
            calls.write("".join(f"{word}\\n" for word in text))
        while (HERE / "hold").exists():
            time.sleep(0.01)
        broken = (HERE / "broken").read_text().split() if (HERE / "broken").exists() else []
        return [ValueError(f"{word} is broken") if word in broken else {"loud": word.upper()} for word in text]


def whisper(text: str) -> dict:
    return {"loud": text.lower()}
"""
PIPELINE = """
from limner import Implementation, Index, Pipeline, Stage, Text

pipeline = Pipeline(
    "words",
    collection="words",
    stages=[
        Stage(
            "shout",
            implementations={
                "shout": Implementation(infer="inferrers:Shout"),
                "whisper": Implementation(infer="inferrers:whisper"),
            },
            reads={"text": "text"},
            outputs={"loud": Text()},
            batch=2,
            task_size=2,
        ),
    ],
    index=Index(text=["text"]),
)
"""


class Typed(Struct, frozen=True, kw_only=True):
    """What a command came to."""

    status: int
    out: str
    err: str

    def document(self) -> Any:  # noqa: ANN401  whatever a test expects of a JSON document
        """The one JSON document on standard output."""
        return json.loads(self.out)


def write_project(folder: Path, *, words: Sequence[str] = ("one", "two", "three")) -> Path:
    """A project over *words*, one record each, whose ids hold a slash and a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inferrers.py").write_text(INFERRERS, encoding="utf-8")
    (folder / "pipeline.py").write_text(PIPELINE, encoding="utf-8")
    rows = [{"id": f"w/{word}.txt", "text": word, "version": at} for at, word in enumerate(words, start=1)]
    (folder / "words.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return folder


def limner(*words: str | Path, project: Path | None = None) -> Typed:
    """Type a command in this process."""
    typed = [*(["--project", str(project)] if project else []), *map(str, words)]
    result = CliRunner().invoke(app, typed)
    return Typed(status=result.exit_code, out=result.stdout, err=result.stderr)


def process(*words: str | Path, folder: Path) -> "subprocess.Popen[str]":
    """Type a command in a process of its own, standing in *folder*."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "limner.cli.main", *map(str, words)],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(running: "subprocess.Popen[str]") -> Typed:
    """What a process came to."""
    out, err = running.communicate(timeout=60)
    return Typed(status=running.returncode, out=out, err=err)
