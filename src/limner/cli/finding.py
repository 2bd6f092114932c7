"""Verbs that give answers out: search, export, index."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.options import AsJson, CollectionName, PipelineName, ShapeName, existing, pairs
from limner.cli.output import document, patience, say, table
from limner.cli.session import opened
from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.search.base import Page

#: Characters of a document's fields that a line shows.
_WIDTH = 100


def search(
    ctx: typer.Context,
    collection: CollectionName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words to find.")] = "",
    similar: Annotated[str | None, typer.Option(metavar="ID", help="Like this record.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Like this picture or other file.")] = None,
    on: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The vector that is compared, for example features.vector.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=VALUE", help="A kind of query that the pipeline declares: colour=#aa3311."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUE", help="Only where this holds; also != < <= > >=. May be given several times."
        ),
    ] = None,
    min_score: Annotated[float | None, typer.Option(metavar="NUMBER", help="Only what is at least so alike.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="NUMBER", help="So many at most.")] = 10,
    offset: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Pass over so many first.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find records by words, filters and likeness at once. Systems add kinds of query, such as --by colour=#aa3311."""
    kinds = pairs(by, option="--by")
    with opened(ctx) as app, patience(f"Searching {collection}"):
        page = app.search(
            collection,
            text,
            similar=similar,
            file=None if file is None else existing(file),
            on=on,
            by=kinds,
            where=where or (),
            min_score=min_score,
            limit=limit,
            offset=offset,
        )
    if as_json:
        document(page)
    else:
        _tell(page)


def export(
    ctx: typer.Context,
    collection: CollectionName,
    to: Annotated[str, typer.Option(metavar="PLACE", help="A file: .csv, .jsonl, .ndjson, .parquet.")],
    shape: ShapeName = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Only this stage, to a place that its system knows: dynamodb://TABLE."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a collection with its values to a file. Where each value came from is written too."""
    from limner.app.stage_exports import export_stage

    if stage is not None and shape is not None:
        raise UsageError("--shape is for whole records; leave it out beside --stage.")
    with opened(ctx) as app, patience(f"Exporting {collection}"):
        if stage is None:
            records = app.export(collection, to, shape=shape)
        else:
            records = export_stage(app, collection, stage=stage, to=to if "://" in to else str(Path(to).absolute()))
    if as_json:
        document({"collection": collection, "to": to, "records": records})
    else:
        say(f"{records} records of {collection} were written to {to}")


def index(ctx: typer.Context, pipeline: PipelineName, as_json: AsJson = False) -> None:
    """Build a pipeline's search index anew. The old one answers until it is done."""
    with opened(ctx) as app, patience(f"Indexing {pipeline}"):
        app.reindex(pipeline)
    if as_json:
        document({"pipeline": pipeline})
    else:
        say(f"The index of {pipeline} was built anew.")


def _tell(page: "Page") -> None:
    if not page.hits:
        say("Nothing was found.")
        return
    rows = [
        (
            hit.id,
            "" if hit.score is None else f"{hit.score:.4f}",
            _short(", ".join(f"{k}={v}" for k, v in hit.fields.items())),
        )
        for hit in page.hits
    ]
    table(("id", "score", "fields"), rows)
    say(f"{len(page.hits)} of {page.total}")


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


VERBS: tuple[Callable[..., None], ...] = (search, export, index)
