"""Checks the pages: a dead link, a dead anchor or an example that is no Python is an error."""

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tools.pages import Example, anchors, links, pages, split

ROOT = Path(__file__).resolve().parent.parent


def dead_links(page: Path) -> Iterator[str]:
    """A sentence for each link of *page* that leads nowhere; addresses of other hosts are not asked."""
    prose, _ = split(page)
    for line, target in links(prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = unquote(target).partition("#")
        other = (page.parent / path) if path else page
        if not other.exists():
            yield f"{page}:{line}: there is no {path}"
        elif anchor and other.suffix == ".md" and anchor not in anchors(split(other)[0]):
            yield f"{page}:{line}: {other.name} has no heading #{anchor}"


def broken_python(example: Example) -> Iterator[str]:
    """A sentence where a block that is marked as Python is none."""
    if example.words[:1] == ("python",):
        try:
            compile(example.code, str(example.page), "exec", dont_inherit=True)
        except SyntaxError as error:
            yield f"{example.page}:{example.line + (error.lineno or 1) - 1}: this example is no Python: {error.msg}"


def complaints(root: Path) -> list[str]:
    """Everything that is wrong with the pages under *root*, a sentence each."""
    found: list[str] = []
    for page in pages(root):
        found.extend(dead_links(page))
        for example in split(page)[1]:
            found.extend(broken_python(example))
    return found


def main() -> int:
    """Print what is wrong; the exit status is 1 where anything is."""
    found = complaints(ROOT)
    print(
        *(found or [f"Docs: {len(pages(ROOT))} pages, every link leads somewhere, every example is Python."]), sep="\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
