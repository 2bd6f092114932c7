"""Reads our Markdown pages: their headings, links and fenced examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^`]*)$")
HEADING = re.compile(r"^#{1,6} +(?P<text>.+?)(?: +#+)?$")
INLINE_CODE = re.compile(r"(`+).+?\1")
LINK = re.compile(
    r"\]\((?P<inline>[^()\s]+(?:\([^()\s]*\))?)(?: +\"[^\"]*\")?\)|^ {0,3}\[[^\]]+\]: *(?P<reference>\S+)"
)
NOT_OURS = {"node_modules", "build", "dist"}


class Example(NamedTuple):
    """One fenced block of a page."""

    page: Path
    #: Line of its first line of code, from 1.
    line: int
    #: The words after the backticks: ``python``, ``python run``, ``sh run``, ``toml`` …
    words: tuple[str, ...]
    code: str


class Line(NamedTuple):
    """One line of a page that is prose, from 1, with its inline code taken out."""

    number: int
    text: str


def pages(root: Path) -> list[Path]:
    """Every Markdown page of the project under *root*, in order."""
    found = root.rglob("*.md")
    return sorted(path for path in found if not any(ours_not(part) for part in path.relative_to(root).parts))


def ours_not(part: str) -> bool:
    """Whether a folder of this name holds other people's pages."""
    return part in NOT_OURS or part.startswith(".")


def split(page: Path) -> tuple[list[Line], list[Example]]:
    """The prose and the fenced blocks of *page*."""
    prose: list[Line] = []
    examples: list[Example] = []
    opening: re.Match[str] | None = None
    code: list[str] = []
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if opening is None:
            opening = FENCE.match(text)
            if opening is None:
                prose.append(Line(number, text))
        elif text.strip() == opening["ticks"]:
            words = tuple(opening["info"].split())
            examples.append(Example(page, number - len(code), words, "\n".join(code) + "\n"))
            opening, code = None, []
        else:
            code.append(text.removeprefix(opening["indent"]))
    return prose, examples


def examples(root: Path) -> Iterator[Example]:
    """The fenced blocks of every page under *root*."""
    for page in pages(root):
        yield from split(page)[1]


def anchors(prose: list[Line]) -> set[str]:
    """What ``#…`` may name in a page: its headings, in small letters, with hyphens for blanks."""
    found: set[str] = set()
    for line in prose:
        if heading := HEADING.match(line.text):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"])
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-"))
    return found


def links(prose: list[Line]) -> Iterator[tuple[int, str]]:
    """Line and target of every link in a page."""
    for line in prose:
        for match in LINK.finditer(INLINE_CODE.sub("", line.text)):
            yield line.number, match["inline"] or match["reference"]
