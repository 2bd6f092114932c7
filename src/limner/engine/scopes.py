"""Which views are at work, and whose ledgers they write to."""

from collections.abc import Sequence

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
    #: Ids of the open jobs with these choices.
    jobs: Sequence[str]

    def settle(self, tx: Transaction, fates: dict[int, Fate]) -> None:
        """Write what has become of records to the standing ledger and to those of the jobs."""
        if not fates:
            return
        if self.standing:
            tx.ledger.settle(standing(self.view.pipeline.name), fates)
        for job in self.jobs:
            tx.ledger.settle(job, fates, only_open=True)
