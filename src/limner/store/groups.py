"""Groups of gather stages: who belongs to whom, and which groups were touched."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import delete, or_, select

from limner.store.base import Noun
from limner.store.dialect import insert_missing, upsert
from limner.store.work_tables import marks, memberships


class Groups(Noun):
    """Memberships and marks, within one transaction."""

    def join(self, node: int, members: Sequence[tuple[int, int]]) -> set[int]:
        """Set the holder of each member; the holders that members left."""
        if not members:
            return set()
        now = dict(members)
        old = self.holders(node, list(now))
        self.insert_all(
            "join group",
            lambda: upsert(memberships, key=("node", "member"), connection=self.connection),
            columns=("node", "member", "holder"),
            rows=[(node, member, holder) for member, holder in now.items() if old.get(member) != holder],
        )
        return {holder for member, holder in old.items() if now[member] != holder}

    def leave(self, node: int, members: Sequence[int]) -> set[int]:
        """Take members out of their groups; the holders that they left."""
        left = self.holders(node, members)
        for clause in self.spans(memberships.c.member, list(left)):
            self.connection.execute(delete(memberships).where(memberships.c.node == node, clause))
        return set(left.values())

    def holders(self, node: int, members: Sequence[int]) -> dict[int, int]:
        """The holder of each member."""
        found: dict[int, int] = {}
        for clause in self.spans(memberships.c.member, members):
            query = select(memberships.c.member, memberships.c.holder).where(memberships.c.node == node, clause)
            found.update((row[0], row[1]) for row in self.connection.execute(query))
        return found

    def members(self, node: int, holders: Sequence[int]) -> dict[int, list[int]]:
        """The members of each holder."""
        found: dict[int, list[int]] = {holder: [] for holder in holders}
        for clause in self.spans(memberships.c.holder, holders):
            query = select(memberships.c.holder, memberships.c.member).where(memberships.c.node == node, clause)
            for holder, member in self.connection.execute(query.order_by(memberships.c.member)):
                found[holder].append(member)
        return found

    def mark(self, node: int, holders: Iterable[int], *, job: str | None) -> None:
        """Remember that groups were touched and must be looked at."""
        self.insert_all(
            "mark groups",
            lambda: insert_missing(marks, key=("node", "holder"), connection=self.connection),
            columns=("node", "holder", "job"),
            rows=[(node, holder, job) for holder in sorted(set(holders))],
        )

    def marked(
        self, nodes: Sequence[int], *, without: Collection[str] = (), limit: int = 2000
    ) -> dict[int, list[tuple[int, str | None]]]:
        """Touched groups by node: holder, and the job that touched it; not those of the jobs *without*."""
        query = select(marks.c.node, marks.c.holder, marks.c.job).where(marks.c.node.in_(nodes)).limit(limit)
        if without:
            query = query.where(or_(marks.c.job.is_(None), marks.c.job.not_in(without)))
        query = query.order_by(marks.c.node, marks.c.holder)
        found: dict[int, list[tuple[int, str | None]]] = {}
        for row in self.connection.execute(query):
            found.setdefault(row[0], []).append((row[1], row[2]))
        return found

    def any_marked(self, nodes: Sequence[int]) -> bool:
        """Whether a group of these nodes waits to be looked at."""
        return self.connection.execute(select(marks.c.node).where(marks.c.node.in_(nodes)).limit(1)).first() is not None

    def unmark(self, node: int, holders: Sequence[int]) -> None:
        """Forget that groups were touched."""
        for clause in self.spans(marks.c.holder, holders):
            self.connection.execute(delete(marks).where(marks.c.node == node, clause))
