"""Pages: their links lead somewhere, their examples are Python, and those marked to run do run."""

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.check_docs import complaints
from tools.pages import Example, pages, split

RUNNABLE = {("python", "run"), ("sh", "run")}


def runnable(page: Path) -> list[Example]:
    """The blocks of *page* that are marked to run, in their order."""
    return [example for example in split(page)[1] if example.words in RUNNABLE]


def one_script(blocks: list[Example]) -> str:
    """*blocks* as one program whose line numbers are those of the page, so that a traceback points into it."""
    lines: list[str] = []
    for block in blocks:
        lines.extend([""] * (block.line - 1 - len(lines)))
        lines.extend(block.code.splitlines())
    return "\n".join(lines) + "\n"


def command_for(language: str, blocks: list[Example], *, folder: Path) -> list[str]:
    """How to run *blocks*, written to a file beside *folder* under the name of their page."""
    script = folder.parent / f"{blocks[0].page.name}.{language}"
    script.write_text(one_script(blocks), encoding="utf-8")
    return [sys.executable, str(script)] if language == "python" else ["sh", "-eu", str(script)]


PAGES_WITH_EXAMPLES = [page for page in pages(REPOSITORY) if runnable(page)]


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """The examples of a page run one after another, in one empty folder, as a reader would run them."""
    # given
    folder = tmp_path / "empty"
    folder.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])

    for language, group in groupby(runnable(page), key=lambda example: example.words[0]):
        # when
        command = command_for(language, list(group), folder=folder)
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False)

        # then
        assert done.returncode == 0, done.stdout + done.stderr


def test_pages_are_sound() -> None:
    """No page of the project has a dead link or an example that is no Python."""
    assert complaints(REPOSITORY) == []


def test_dead_link_is_found(tmp_path: Path) -> None:
    """A link to a page that is not there is named with its place."""
    # given
    (tmp_path / "page.md").write_text("# One\n\nSee [that](missing.md) and [this](#one).\n", encoding="utf-8")

    # when
    found = complaints(tmp_path)

    # then
    assert found == [f"{tmp_path / 'page.md'}:3: there is no missing.md"]


def test_dead_anchor_is_found(tmp_path: Path) -> None:
    """A link to a heading that is not there is named, and one that is there is not."""
    # given
    (tmp_path / "other.md").write_text("# What `limner run` does\n", encoding="utf-8")
    (tmp_path / "page.md").write_text("[a](other.md#what-limner-run-does)\n[b](other.md#gone)\n", encoding="utf-8")

    # when
    found = complaints(tmp_path)

    # then
    assert found == [f"{tmp_path / 'page.md'}:2: other.md has no heading #gone"]


def test_link_in_code_is_no_link(tmp_path: Path) -> None:
    """What stands in code is shown, not followed."""
    # given
    (tmp_path / "page.md").write_text("`[a](gone.md)`\n\n```text\n[b](gone.md)\n```\n", encoding="utf-8")

    # when
    found = complaints(tmp_path)

    # then
    assert found == []


def test_broken_python_is_found(tmp_path: Path) -> None:
    """A block that is marked as Python and is none is named with the line of its mistake."""
    # given
    (tmp_path / "page.md").write_text("```python\nfine = 1\nnot fine = 2\n```\n", encoding="utf-8")

    # when
    found = complaints(tmp_path)

    # then
    assert [sentence.partition(": ")[0] for sentence in found] == [f"{tmp_path / 'page.md'}:3"]
