"""Every verb of the command line is documented, and every command that a page shows can be typed."""

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from limner.cli.main import app
from tests.conftest import REPOSITORY
from tools.pages import pages, split

ROOT = get_command(app)
SHELL = {"sh", "console"}
INLINE_COMMAND = re.compile(r"`(limner [^`]+)`")


def verbs(command: object, *, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each verb under *command*: ("run",), ("token", "create") …; hidden ones are left out."""
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from verbs(child, path=(*path, name))
    else:
        yield path


def commands_shown() -> Iterator[tuple[str, list[str]]]:
    """Place and words of each command line of ``limner`` in the shell examples and the inline code of the pages."""
    for page in pages(REPOSITORY):
        prose, blocks = split(page)
        lines = [(line.number, code) for line in prose for code in INLINE_COMMAND.findall(line.text)]
        for block in blocks:
            if SHELL.intersection(block.words[:1]):
                code = block.code.replace("\\\n", " ")
                lines += [(block.line + offset, line) for offset, line in enumerate(code.splitlines())]
        for number, line in lines:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["limner"]:
                yield f"{page.relative_to(REPOSITORY)}:{number}", words[1:]


def why_not(words: list[str]) -> str | None:
    """Why ``limner`` would refuse the verb or an option of *words*; None where it would not."""
    command: object = ROOT
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        if words[0].isupper():  # stands for any: `limner SYSTEM …`
            return None
        if words[0] not in command.commands:
            return f"there is no verb {words[0]}"
        command = command.commands[words[0]]
        words = words[1:]
    known = {name for option in getattr(command, "params", ()) for name in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
    unknown = sorted(given - known - {"--help"})
    return f"there is no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("verb", sorted(" ".join(path) for path in verbs(ROOT)))
def test_verb_is_documented(verb: str) -> None:
    """A verb stands in docs/cli.md as it is typed."""
    assert f"`limner {verb}" in (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")


def test_shown_commands_exist() -> None:
    """Every command line in a shell example names a verb and options that Limner has."""
    # when
    refused = [f"{place}: {reason}" for place, words in commands_shown() if (reason := why_not(words))]

    # then
    assert refused == []


def test_invented_commands_are_found() -> None:
    """A verb or an option that does not exist is told from one that does."""
    assert why_not(["paint", "images"]) == "there is no verb paint"
    assert why_not(["run", "catalogue", "--sideways"]) == "there is no option --sideways"
    assert why_not(["run", "catalogue", "--help"]) is None
