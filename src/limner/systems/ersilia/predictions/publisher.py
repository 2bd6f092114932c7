"""Publishing: everything that a job predicted goes to every place, batch by batch, and can be stopped at any time."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct, field, structs

from limner.clock import Clock, SystemClock
from limner.systems.ersilia.library.index import record_id
from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.precalc.nouns import Counts
from limner.systems.ersilia.predictions.crew import publish_beside
from limner.systems.ersilia.predictions.cursor import Outcome
from limner.systems.ersilia.predictions.files_place import FilesPlace
from limner.systems.ersilia.predictions.meta import meta_of, meta_path
from limner.systems.ersilia.predictions.publication import ITSELF, Publication, Publishing
from limner.systems.ersilia.predictions.shards import aside_header, aside_path, told_aside
from limner.systems.ersilia.reasons import Reason

#: Failures of a row, and not of the molecule behind its key.
_OF_THE_ROW = frozenset({Reason.BAD_KEY.value, Reason.KEY_MISMATCH.value})


class Arrived(Struct, frozen=True, kw_only=True):
    """What a job came to in one place, in rows."""

    new: int
    changed: int
    same: int
    refused: int
    #: Which process wrote which batch, and when: worker, begin and end in seconds since the epoch.
    spans: list[tuple[str, float, float]]


class Published(Struct, frozen=True, kw_only=True):
    """What publishing a job came to."""

    batches: int
    #: Rows with values.
    stored: int
    #: Rows without, by reason.
    reasons: Mapping[str, int]
    #: Of these, how many were handed in with values that turned out to be none.
    late: int
    #: How many stored rows have no value in a column, by column.
    nulls: Mapping[str, int]
    #: By place.
    places: Mapping[str, Arrived] = field(default_factory=dict)
    #: Addresses of the files with rows set aside, and of the files with metadata.
    files: list[str] = field(default_factory=list)


def publish(
    publication: Publication,
    *,
    workers: int = 1,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Published:
    """
    Publish a job; what an earlier run that was stopped has published is left out.

    *workers* processes write batches beside each other; *progress* is told how many of all are done.

    Raises:
        UsageError: a place cannot take it.
        StoreUnavailable: a database is away; running again goes on where it was.
        ArtifactsUnavailable: a folder or bucket is away; the same.
    """
    clock = clock or SystemClock()
    publishing = Publishing(publication, clock=clock)
    try:
        total = len(publishing.batches)
        for place in publishing.places:
            place.begin(publication.facts, batches=total)
        missing = [number for number in range(total) if publishing.lacks(number)]
        progress(total - len(missing), total)
        done = Counter[str](done=total - len(missing))

        def note() -> None:
            done["done"] += 1
            progress(done["done"], total)

        if min(workers, len(missing)) > 1:
            publish_beside(publication, missing, workers=min(workers, len(missing)), done=note)
        else:
            for number in missing:
                publishing.publish(number)
                note()
        return _end(publishing, batches=total, clock=clock)
    finally:
        publishing.close()


def _end(publishing: Publishing, *, batches: int, clock: Clock) -> Published:
    """Settle every place, then tell of it: rows set aside, and last the metadata."""
    facts, cursor = publishing.facts, publishing.cursor
    own = cursor.outcomes(facts.job, ITSELF)
    places = {place.name: cursor.outcomes(facts.job, place.name) for place in publishing.places}
    for place in publishing.places:
        place.end(facts, failures=_failures(own, job=facts.job))
    published = Published(
        batches=batches,
        stored=sum(outcome.new for outcome in own.values()),
        reasons=_sum(outcome.states for outcome in own.values()),
        late=sum(outcome.refused for outcome in own.values()),
        nulls=_sum(outcome.nulls for outcome in own.values()),
        places={name: _arrived(outcomes) for name, outcomes in places.items()},
    )
    urls: list[str] = []
    for place in publishing.places:
        if isinstance(place, FilesPlace):
            urls += _tell(place, publishing, [own, *places.values()], _counts(facts.counts, published), clock.now())
    return structs.replace(published, files=urls)


def _failures(outcomes: Mapping[int, Outcome], *, job: str) -> Iterator[Sequence[Prediction]]:
    """The failures of molecules that have a key, a batch at a time."""
    for outcome in outcomes.values():
        page = [
            Prediction(key=key, smiles=smiles, failed=failed, record=record_id(smiles), job=job)
            for _, key, smiles, failed in told_aside(outcome.aside)
            if key and failed.reason not in _OF_THE_ROW
        ]
        if page:
            yield page


def _tell(
    place: FilesPlace, publishing: Publishing, outcomes: list[dict[int, Outcome]], counts: Counts, ended: float
) -> list[str]:
    """Write the rows that were set aside, and the metadata; their addresses."""
    facts = publishing.facts
    aside, meta = aside_path(facts.job), meta_path(facts.release.model)
    with place.files.writing(aside) as file, file.open("wb") as stream:
        stream.write(aside_header())
        for number in sorted(outcomes[0]):
            stream.writelines(one[number].aside for one in outcomes if number in one)
    url = place.files.url(meta)
    told = meta_of(facts, table=publishing.table, counts=counts, ended=ended, url=url)
    with place.files.writing(meta) as file:
        file.write_bytes(told)
    return [place.files.url(aside), url]


def _counts(counts: Counts, published: Published) -> Counts:
    """The job's counts, with the rows that only publishing found to hold nothing."""
    if not published.late:
        return counts
    return structs.replace(counts, stored=counts.stored - published.late, failed=counts.failed + published.late)


def _arrived(outcomes: Mapping[int, Outcome]) -> Arrived:
    batches = list(outcomes.values())
    return Arrived(
        new=sum(outcome.new for outcome in batches),
        changed=sum(outcome.changed for outcome in batches),
        same=sum(outcome.same for outcome in batches),
        refused=sum(outcome.refused for outcome in batches),
        spans=[(outcome.worker, outcome.began, outcome.ended) for outcome in batches],
    )


def _sum(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
