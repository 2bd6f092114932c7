"""Options and arguments that several verbs share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from limner.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
PipelineName = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline, or the file that declares one: pipeline.py.")
]
CollectionName = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of a collection, for example images.")]
Ids = Annotated[
    list[str] | None,
    typer.Option("--ids", metavar="ID,ID…", help="Only these records; may be given several times."),
]
Since = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only records whose source version is of this day or time, or later.")
]
Until = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only records whose source version lies before this day or time.")
]
Full = Annotated[bool, typer.Option("--full", help="Look at every record again, although no version moved.")]
Choose = Annotated[
    list[str] | None,
    typer.Option(
        "--choose", metavar="STAGE=NAME,…", help="Implementations of a stage in place of its default; several times."
    ),
]
ShapeName = Annotated[
    str | None, typer.Option("--shape", metavar="NAME", help="A system's own form of JSON records, such as augmented.")
]
Parameters = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter; may be given several times.")
]


def many(given: Sequence[str] | None, *, option: str) -> list[str] | None:
    """The items of an option that takes lists with commas, several times; None where it was not given."""
    return _listed(",".join(given), option=option) if given else None


def pairs(given: Sequence[str] | None, *, option: str) -> dict[str, str]:
    """The pairs of an option that takes ``NAME=VALUE``, several times."""
    found: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{option} {item} is no NAME=VALUE.")
        if name.strip() in found:
            raise UsageError(f"{option} names {name.strip()} twice.")
        found[name.strip()] = value
    return found


def choices_of(given: Sequence[str] | None) -> dict[str, list[str]]:
    """The implementations chosen, by stage."""
    named = pairs(given, option="--choose")
    return {stage: _listed(names, option=f"--choose {stage}=") for stage, names in named.items()}


def values_of(given: Sequence[str] | None, *, option: str) -> Mapping[str, object]:
    """Named values, each read as JSON where it is JSON (``3``, ``true``, ``[1, 2]``) and as text where it is none."""
    return {name: _value(text) for name, text in pairs(given, option=option).items()}


def _value(text: str) -> object:
    import msgspec

    try:
        found: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return found


def _listed(text: str, *, option: str) -> list[str]:
    found = [item.strip() for item in text.split(",") if item.strip()]
    if not found:
        raise UsageError(f"{option} names nothing; leave it out, or name at least one.")
    return list(dict.fromkeys(found))


def existing(path: Path) -> Path:
    """
    *path*, if it is a file.

    Raises:
        UsageError: it is none.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    return path
