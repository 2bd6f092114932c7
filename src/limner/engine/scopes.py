"""Which views are at work, and whose ledgers they write to."""

from collections.abc import Mapping

from msgspec import Struct

from limner.domain.jobs import Fate
from limner.engine.views import View
from limner.store.ledger import standing
from limner.store.store import Transaction


class Scope(Struct, frozen=True, kw_only=True):
    """One view with the jobs that look through it."""

    view: View
    #: It is the default view of a standing pipeline, whose own ledger it keeps.
    standing: bool
    #: The open jobs with these choices: id and priority, urgent ones first.
    jobs: Mapping[str, int]

    def wanted(self, tx: Transaction, touched: Mapping[int, set[int]]) -> Mapping[int, set[int]]:
        """
        What of *touched* (keys by node) anybody who looks through the view wants.

        A standing pipeline wants everything; otherwise it is what the jobs hold, and records that no job counts.
        """
        if self.standing:
            return touched
        records = tx.records.load(sorted(set().union(*touched.values())))
        counted = {
            key: record.root or key
            for key, record in records.items()
            if record.root is not None or record.collection == self.view.root
        }
        roots = sorted(set(counted.values()))
        held = {root for job in self.jobs for root in tx.ledger.fates(job, roots)}
        unwanted = {key for key, root in counted.items() if root not in held}
        kept = {pk: keys - unwanted for pk, keys in touched.items()}
        return {pk: keys for pk, keys in kept.items() if keys}

    def enter(self, tx: Transaction, fates: Mapping[int, Fate]) -> None:
        """Enter records into the standing ledger, those that are there already left out."""
        if self.standing:
            owner = standing(self.view.pipeline.name)
            known = tx.ledger.fates(owner, list(fates))
            tx.ledger.enter(owner, {key: fate for key, fate in fates.items() if key not in known})

    def settle(self, tx: Transaction, fates: dict[int, Fate]) -> None:
        """Write what has become of records to the standing ledger and to those of the jobs."""
        if not fates:
            return
        if self.standing:
            tx.ledger.settle(standing(self.view.pipeline.name), fates)
        for job in self.jobs:
            tx.ledger.settle(job, fates, only_open=True)
