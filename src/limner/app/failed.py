"""What failed and is not mended, with every attempt at it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from limner.domain.failures import Failure
from limner.domain.jobs import Fate
from limner.engine.views import View
from limner.store.nodes import StoredNode
from limner.store.results import FailedAttempt
from limner.store.store import Transaction

_PAGE = 1000


class FailureRow(Struct, frozen=True, kw_only=True):
    """One record that failed in one stage."""

    collection: str
    id: str
    stage: str
    implementation: str
    code: str
    message: str
    reason: str | None
    attempts: int
    workers: list[str]
    task: int | None
    attempt_log: list[str] = field(default_factory=list)


def failed_rows(tx: Transaction, view: View, *, job: str | None = None, limit: int = 1000) -> list[FailureRow]:
    """What failed and is not mended: of the records of a job, or of everything in the view."""
    nodes = {node.pk: node for node in tx.nodes.of(view.pipeline.name)}
    names = tx.records.collection_names()
    spans = _job_spans(tx, job) if job else [None]
    found: list[FailureRow] = []
    for span in spans:
        after = 0 if span is None else min(span) - 1
        while len(found) < limit:
            rows = tx.results.failed(
                versions=view.versions, after=after, limit=_PAGE, span=None if span is None else (min(span), max(span))
            )
            if not rows:
                break
            after = rows[-1][0]
            wanted = [row for row in rows if span is None or row[0] in span]
            found += _rows(tx, wanted, nodes, names)
            if len(rows) < _PAGE:
                break
    return found[:limit]


def _job_spans(tx: Transaction, job: str) -> list[set[int] | None]:
    """The failed records of a job with their descendants, a part of its ledger at a time."""
    spans: list[set[int] | None] = []
    for page in tx.ledger.pages(job, having=Fate.FAILED):
        roots = [key for key, fate in page.items() if fate is Fate.FAILED]
        spans.append({*roots, *(key for _, _, key in tx.records.descendants(roots))})
    return spans


def _rows(
    tx: Transaction,
    rows: Sequence[tuple[int, int, int, int, Failure]],
    nodes: Mapping[int, StoredNode],
    names: Mapping[int, str],
) -> list[FailureRow]:
    records = tx.records.load(sorted({row[0] for row in rows}))
    found = []
    for record, node, task, tried, failure in rows:
        log = [attempt for attempt in tx.results.attempts(record) if attempt.node == node]
        found.append(
            FailureRow(
                collection=names[records[record].collection],
                id=records[record].id,
                stage=nodes[node].stage,
                implementation=nodes[node].implementation,
                code=failure.code.value,
                message=failure.message,
                reason=failure.reason,
                attempts=tried,
                workers=list(dict.fromkeys(attempt.worker for attempt in log)),
                task=task or None,
                attempt_log=[told(attempt) for attempt in log],
            )
        )
    return found


def told(attempt: FailedAttempt) -> str:
    """One failed attempt in a line."""
    ending = "final" if attempt.final else "tried again"
    return f"attempt {attempt.tried} by {attempt.worker}: {attempt.failure.code} {attempt.failure.message} ({ending})"
