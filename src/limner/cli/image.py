"""The verb image: writes the recipe of a stage's own image, says what it comes to, and builds it if asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, patience, say, table, warn
from limner.cli.session import session_of

_MEGABYTE = 1_000_000


def image(
    ctx: typer.Context,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="pipeline.stage, or stage where only one has it.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where to write; images/pipeline.stage if left out.")
    ] = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option("--implementation", metavar="NAME", help="Only this implementation; may be given several times."),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="PATH", help="A file or folder of the project that goes in too; several times."),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--extra", metavar="NAME", help="An extra of Limner, such as rabbitmq; several times."),
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(
            "--lock", metavar="FILE", help="Pins with hashes; the project's requirements.lock if there is one."
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="The image to begin with; Python's slim one if left out.")
    ] = None,
    build: Annotated[str | None, typer.Option(metavar="TAG", help="Build it with buildah, under this name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the recipe of an image that holds what one stage needs, and nothing else."""
    from limner.app.imaging import Ask, build_image, write_image
    from limner.settings import load_project

    session = session_of(ctx)
    project = load_project(session.folder, options=session.options)
    ask = Ask(
        stage=stage, implementations=implementation or (), add=add or (), extras=extra or (), lock=lock, base=base
    )
    written = write_image(project, ask, to=None if to is None else to.resolve())
    built = None
    if build is not None:
        with patience(f"Building {build}"):
            built = build_image(written, tag=build)
    if as_json:
        from msgspec import structs

        document({**structs.asdict(written), "tag": build, "image_bytes": built})
        return
    parts = sorted(written.distributions, key=lambda part: -part.bytes)
    table(("distribution", "version", "MB"), [(p.name, p.version, f"{p.bytes / _MEGABYTE:.1f}") for p in parts])
    say(
        f"{written.stage} ({', '.join(written.implementations)}): {written.folder}/Containerfile",
        f"{written.bytes / _MEGABYTE:.1f} MB without the base image. Counted are, as they are installed here and with "
        f"what is compiled: {len(parts)} distributions, Limner; and files of the project: {len(written.files)}.",
    )
    if not written.hashed:
        say("Versions are those installed here, without hashes; a requirements.lock in the project pins them for good.")
    if built is not None:
        say(f"Built {build}: {built / _MEGABYTE:.1f} MB, base image included.")
    warn(*written.problems)


VERBS: tuple[Callable[..., None], ...] = (image,)
