"""What comes before a job's work: its records are taken in, or looked up, a transaction at a time."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field, structs

from limner.domain.jobs import Job
from limner.domain.records import RecordIn, SetAside
from limner.engine.engine import Engine
from limner.engine.passes import stale_nodes
from limner.engine.scopes import Scope
from limner.errors import UsageError
from limner.store.ledger import standing
from limner.store.store import Transaction

#: Records in one transaction of the intake.
PAGE = 2000


class Request(Struct, frozen=True, kw_only=True):
    """What a run is asked to do."""

    pipeline: str
    #: Pages of the source; None means the records that are stored.
    pages: Iterator[list[RecordIn | SetAside]] | None = None
    #: Only these records.
    ids: Sequence[str] | None = None
    #: Only these records, by their keys: what each part makes ready becomes tasks of its own.
    parts: Sequence[Sequence[int]] | None = None
    #: Only records whose source version lies in [since, until).
    since: int | None = None
    until: int | None = None
    #: Look at every record again, although no version moved.
    full: bool = False
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    priority: int = 0
    detail: Mapping[str, str] = field(default_factory=dict)


class Preparing:
    """Makes a job's records known to the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def over(self, request: Request, job: Job) -> Iterator[None]:
        """
        Everything before the job is sealed, a transaction at a time; it ends early where the job has ended.

        Killed anywhere and begun again with the rows after those that the job says were taken, it counts nothing twice.
        """
        engine = self._engine
        with engine.store.transaction() as tx:
            scope = engine.scope(tx, request.pipeline, lists(request.choices))
            nodes = [node for node in scope.view.nodes if node.version is not None]
            stale = nodes if request.full else stale_nodes(tx, scope.view)
        if stale and scope.standing:
            for kept in engine.passes.over(scope, stale, job=job.id):
                if kept and not _narrowed(request):
                    with engine.store.transaction() as tx:
                        tx.jobs.grow(job.id, reused=kept)
                yield
        if request.pages is not None:
            yield from self._take_in(request, job)
        else:
            yield from self._take_stored(request, job, scope)
        with engine.store.transaction() as tx:
            if tx.jobs.get(job.id).state.ended:
                return
            if tx.ledger.counts(job.id).records == 0 and not tx.jobs.get(job.id).set_aside:
                raise UsageError(_nothing(request))
            engine.desk.seal(tx, job.id, engine.scope(tx, request.pipeline, lists(request.choices)))

    def _take_in(self, request: Request, job: Job) -> Iterator[None]:
        """Take the pages of a source in."""
        engine = self._engine
        wanted = None if request.ids is None else set(request.ids)
        assert request.pages is not None
        for page in request.pages:
            chosen = [row for row in page if _wanted(row, request, wanted)]
            with engine.store.transaction() as tx:
                now = tx.jobs.get(job.id)
                if now.state.ended:
                    return
                scopes = engine.scopes(tx)
                mine = engine.scope(tx, request.pipeline, lists(request.choices))
                taken = engine.intake.take(tx, scopes, mine, job.id, chosen, priority=request.priority)
                tx.jobs.grow(job.id, reused=taken.reused)
                tx.jobs.replace(structs.replace(now, taken=now.taken + len(page)))
            yield

    def _take_stored(self, request: Request, job: Job, scope: Scope) -> Iterator[None]:
        """Enter records that are stored already: all of them, or those asked for."""
        engine = self._engine
        if request.parts is not None:
            yield from self._take_parts(request, job, scope)
            return
        if not _narrowed(request) and scope.standing:
            with engine.store.transaction() as tx:
                if tx.ledger.counts(job.id).records:
                    # Whoever did it was killed before the job was sealed.
                    return
                owner = standing(request.pipeline)
                counts = tx.ledger.counts(owner)
                tx.ledger.copy(owner, to=job.id)
                nodes = [node for node in scope.view.over(scope.view.root) if node.version is not None]
                tx.jobs.grow(job.id, reused=(counts.records - counts.open) * len(nodes))
            return
        after = 0
        while True:
            with engine.store.transaction() as tx:
                if tx.jobs.get(job.id).state.ended:
                    return
                keys, after = self._stored_page(tx, request, scope, after)
                if keys:
                    reused = engine.intake.enter(
                        tx, scope, job.id, {scope.view.root: keys}, {}, priority=request.priority
                    )
                    tx.jobs.grow(job.id, reused=reused)
            if not keys:
                return
            yield

    def _take_parts(self, request: Request, job: Job, scope: Scope) -> Iterator[None]:
        """Enter records that are stored already, each part in a transaction of its own."""
        for part in request.parts or ():
            with self._engine.store.transaction() as tx:
                if tx.jobs.get(job.id).state.ended:
                    return
                keys = {scope.view.root: sorted(part)}
                reused = self._engine.intake.enter(tx, scope, job.id, keys, {}, priority=request.priority)
                tx.jobs.grow(job.id, reused=reused)
            yield

    def _stored_page(self, tx: Transaction, request: Request, scope: Scope, after: int) -> tuple[list[int], int]:
        root = scope.view.root
        if request.ids is not None:
            chunk = request.ids[after : after + PAGE]
            found = tx.records.keys(root, chunk)
            unknown = [identity for identity in chunk if identity not in found]
            if unknown:
                raise UsageError(f"{scope.view.pipeline.collection} has no record {', '.join(unknown[:5])}.")
            return sorted(found.values()), after + len(chunk)
        keys = tx.records.window(root, since=request.since, until=request.until, after=after, limit=PAGE)
        return keys, keys[-1] if keys else after


def lists(choices: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    """Choices as a job keeps them."""
    return {stage: list(ways) for stage, ways in (choices or {}).items()}


def _narrowed(request: Request) -> bool:
    """Whether only some of the stored records are asked for."""
    bounds = (request.ids, request.parts, request.since, request.until)
    return any(bound is not None for bound in bounds)


def _wanted(row: RecordIn | SetAside, request: Request, ids: set[str] | None) -> bool:
    """Whether a row of a source lies in the scope of the request."""
    if isinstance(row, SetAside):
        return True
    if ids is not None and row.id not in ids:
        return False
    if request.since is None and request.until is None:
        return True
    at = row.source_version
    return at is not None and (request.since or 0) <= at and (request.until is None or at < request.until)


def _nothing(request: Request) -> str:
    """Why a run has nothing to do, and what to do about it."""
    if request.ids is not None or request.since is not None or request.until is not None:
        return "No record lies in the scope that was asked for (--ids, --since, --until)."
    if request.pages is not None:
        return "The source holds no records."
    return f"There are no records yet; name a source: limner run {request.pipeline} FOLDER|FILE"
