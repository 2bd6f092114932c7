"""Publishing alone: prediction files of somebody else are checked, stored and set aside, without any model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from limner.clock import Clock, SystemClock
from limner.errors import NotFound
from limner.settings import Project
from limner.systems.ersilia.library.index import Library
from limner.systems.ersilia.nouns import KeyScheme, Release
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.releases import release_of
from limner.systems.ersilia.precalc.nouns import Facts, Outcome
from limner.systems.ersilia.predictions.connect import connect_files, predictions_url
from limner.systems.ersilia.predictions.crew import writers_for
from limner.systems.ersilia.predictions.given import Survey, survey
from limner.systems.ersilia.predictions.publication import Publication
from limner.systems.ersilia.predictions.publisher import publish

#: What files that are published so are called by; a pattern that finds them again leaves them out.
_JOB = "given-"
#: In the place of the environment, which is not known: such predictions are a version of their own.
_ENVIRONMENT = {"predicted": "elsewhere"}


def publish_given(
    project: Project,
    package: Package,
    patterns: Sequence[str],
    *,
    to: Sequence[str] = (),
    scheme: KeyScheme | None = None,
    strict: bool = False,
    workers: int = 1,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Outcome:
    """
    Publish the files that *patterns* name (``out/eos3b5e/*.csv``, ``s3://bucket/out/eos3b5e/*.csv``) for *package*.

    They become a version of the model of their own, since nobody here knows how they were made. The same files
    again are the same job, which adds nothing.

    Raises:
        NotFound: no file matches.
        UsageError: a file lacks a column, or a place cannot take them; nothing was published.
    """
    clock = clock or SystemClock()
    started = clock.now()
    with _found(patterns, folder=project.folder) as files:
        seen = survey(files, columns=package.columns, scheme=scheme, strict=strict)
        facts = _facts(seen, release_of(package, environment=_ENVIRONMENT, checked=False), started, workers, files)
        publication = Publication(
            facts=facts,
            batches=seen.rows,
            table=predictions_url(project),
            places=tuple(to) or (str(project.folder),),
        )
        used = writers_for(publication, workers=workers)
        published = publish(publication, workers=used, clock=clock, progress=progress)
    return Outcome(
        job=facts.job,
        model=package.id,
        version=facts.release.version,
        environment=facts.release.environment_digest,
        key_scheme=facts.scheme,
        library=facts.library,
        state="done_with_failures" if facts.counts.failed else "done",
        counts=facts.counts,
        inferred=0,
        workers=workers,
        workers_used=min(used, len(seen.rows)),
        shards=len(seen.rows),
        seconds=round(clock.now() - started, 3),
        published=[*published.places, *published.files],
        nulls=dict(published.nulls),
        by_row=seen.by_row,
    )


def _facts(seen: Survey, release: Release, started: float, workers: int, files: Sequence[Path]) -> Facts:
    """What is told of the job, whose id says which files and which model it is about."""
    scheme, counts = seen.rows.scheme, seen.counts
    told = f"{seen.sha256} {release.model} {release.version} {scheme} {seen.rows.strict}"
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    library = Library(
        name=f"{files[0].name}{more}",
        sha256=seen.sha256,
        rows=counts.rows,
        blank_lines=counts.blank_lines,
        molecules=counts.stored,
        duplicate_rows=counts.duplicate_row,
        set_aside=counts.failed,
        scheme=scheme,
        keyed=True,
    )
    return Facts(
        job=f"{_JOB}{sha256(told.encode()).hexdigest()[:12]}",
        release=release,
        scheme=scheme,
        library=library,
        started=started,
        workers=workers,
        shards=[cut.rows for cut in seen.rows.cuts],
        counts=counts,
        strict=seen.rows.strict,
    )


@contextmanager
def _found(patterns: Sequence[str], *, folder: Path) -> Iterator[list[Path]]:
    """
    The files that *patterns* name, in order; those in a bucket as copies that last as long as the block.

    Raises:
        NotFound: there are none.
    """
    with ExitStack() as stack:
        files: list[Path] = []
        for pattern in patterns:
            if urlsplit(pattern).scheme == "s3":
                files += _copies(pattern, stack)
            else:
                path = folder / pattern.removeprefix("file://")
                root = Path(path.anchor)
                files += sorted(file for file in root.glob(str(path.relative_to(root))) if _others(file.name))
        if not files:
            raise NotFound(f"No file matches {', '.join(patterns)}.")
        yield files


def _copies(pattern: str, stack: ExitStack) -> list[Path]:
    parts = urlsplit(pattern)
    above, _, name = parts.path.strip("/").rpartition("/")
    files = connect_files(parts._replace(path="").geturl())
    found = [one for one in files.names(above) if fnmatchcase(one, name) and _others(one)]
    return [stack.enter_context(files.reading(f"{above}/{one}" if above else one)) for one in found]


def _others(name: str) -> bool:
    """Whether a file is somebody else's."""
    return not Path(name).name.startswith(_JOB)
