"""Reading: one query, answered from one state of a generation."""

from collections.abc import Iterator, Mapping

import numpy as np

from limner.domain.values import decode
from limner.errors import NotFound, UsageError, VersionConflict
from limner.search.base import FacetCount, Generation, Hit, Match, Near, Page, Query, Row
from limner.search.conditions import kind_at, predicate_of, restored
from limner.search.narrowing import Marks
from limner.search.snapshot import Held, Snapshot
from limner.search.tables import Tables, VectorState
from limner.search.vectors import Numbers, Scores, Slots, best, unit

#: Hits that one ask of a graph serves, whatever page of them is wanted, so that pages fit together; deeper ones are
#: found by comparing all.
_SHALLOW = 50
#: Rows that a stream holds at a time.
_STREAMED = 1_000


class Reading:
    """Answers one *query* from one *snapshot* of the generation *held*."""

    def __init__(self, query: Query, *, held: Held, snapshot: Snapshot) -> None:
        self._query = query
        self._held = held
        self._snapshot = snapshot
        self._narrowing = snapshot.narrowing
        self._mapping = held.generation.mapping

    def page(self) -> Page:
        """The page that the query asks for."""
        query = self._query
        self._check()
        vector = self._asked_vector(query.near) if query.near else None
        left = self._left()
        if query.near and vector is not None:
            left = self._comparable(left, near=query.near)
            slots, scores = self._nearest(vector, near=query.near, left=left)
            found = self._cut(slots, scores=scores)
        elif query.text and query.order is None:
            slots, scores = self._narrowing.scores(query.text)
            kept = left[slots]
            found = self._cut(slots[kept], scores=scores[kept])
        else:
            ordered = self._narrowing.order(query.order, descending=query.descending)
            wanted = ordered[left[ordered]][query.offset : query.offset + query.limit]
            found = [(int(slot), None) for slot in wanted]
        return Page(
            hits=self._hits(found),
            total=int(np.count_nonzero(left)),
            generation=self._held.generation.number,
            versions=_versions(self._snapshot),
            facets={path: self._facet(path) for path in query.facets},
        )

    def _check(self) -> None:
        """Refuse what contradicts itself or names a path that the mapping lacks."""
        query = self._query
        if query.limit < 0 or query.offset < 0:
            raise UsageError("A page begins at 0 or later and has 0 or more hits; limit and offset are not negative.")
        if query.near and query.order:
            raise UsageError("What is like something is ordered by likeness; leave out order, or leave out near.")
        for path in [*query.facets, *([query.order] if query.order else [])]:
            kind_at(path, mapping=self._mapping)

    def _left(self, *, passing: str | None = None) -> Marks:
        """What words and conditions leave; conditions on the path *passing* are passed over."""
        query, left = self._query, self._narrowing.everything()
        for condition in query.filters:
            predicate = predicate_of(condition, mapping=self._mapping)
            if condition.path != passing:
                left = left & self._narrowing.keeping(predicate)
        if query.text:
            match = Match.ALL if query.near else query.match
            left = left & self._narrowing.matching(query.text, match=match)
        return left

    def _comparable(self, left: Marks, *, near: Near) -> Marks:
        """Those *left* that have the vector and that the query does not exclude."""
        left = left & self._narrowing.having(near.path)
        if self._query.hide_incomplete:
            left = left & self._narrowing.complete()
        excluded = [*near.exclude, *([near.like] if near.like else [])]
        if excluded:
            left[[slot for slot, _ in _slots_of(self._snapshot.tables, ids=excluded)]] = False
        return left

    def _state(self, path: str) -> VectorState:
        """The vectors at *path*."""
        try:
            return self._snapshot.vectors[path]
        except KeyError:
            known = ", ".join(sorted(self._snapshot.vectors)) or "there is none"
            raise UsageError(f"{path} is no vector of this index; known are: {known}") from None

    def _asked_vector(self, near: Near) -> Numbers:
        """The vector to compare with, of unit length, if it may be compared."""
        state = self._state(near.path)
        if (near.vector is None) == (near.like is None):
            raise UsageError("A query by likeness gives either a vector or the id of a document to be like.")
        if near.like is not None:
            return self._stored_vector(near.like, path=near.path)
        vector = unit(near.vector, path=near.path, whose="the query")
        if not vector.any():
            raise UsageError(f"The query's vector for {near.path} is all zeros, which is like nothing.")
        if near.version is not None and state.version is not None and near.version != state.version:
            raise VersionConflict(
                f"The query's vector for {near.path} is of version {near.version}, but generation "
                f"{self._held.generation.number} holds {state.version}; they cannot be compared."
            )
        if state.length is not None and len(vector) != state.length:
            raise VersionConflict(
                f"The query's vector for {near.path} has {len(vector)} numbers, but the index holds {state.length}."
            )
        return vector

    def _stored_vector(self, id: str, *, path: str) -> Numbers:
        found = _slots_of(self._snapshot.tables, ids=[id])
        if not found:
            raise NotFound(f"There is no {id} in this index, so nothing can be like it.")
        slot = found[0][0]
        if not self._narrowing.having(path)[slot]:
            raise NotFound(f"{id} has no {path} yet, so nothing can be like it.")
        vector: Numbers = self._rows(path)[slot]
        return vector

    def _rows(self, path: str) -> Numbers:
        """The vectors at *path*, by slot."""
        state = self._state(path)
        marks = self._narrowing.having(path)
        # The file ends with the last document that has the vector; the mark before the end finds it.
        count = len(marks) - int(np.argmax(marks[::-1])) if marks.any() else 0
        return self._held.vectors(state, snapshot=self._snapshot).rows(count)

    def _nearest(self, vector: Numbers, *, near: Near, left: Marks) -> tuple[Slots, Scores]:
        """The slots among those *left* that may be on the page, with their scores."""
        state = self._state(near.path)
        wanted = self._query.offset + self._query.limit
        total = int(np.count_nonzero(left))
        if not total or not wanted:
            return np.empty(0, dtype=np.int64), np.empty(0)
        candidates = None
        graph = self._held.graph(state, snapshot=self._snapshot) if wanted <= _SHALLOW else None
        if graph is not None:
            candidates = graph.near(vector, allowed=left, wanted=min(_SHALLOW, total))
        if graph is not None and candidates is not None:
            later = np.flatnonzero(left[graph.covered :]) + graph.covered
            candidates = np.concatenate([candidates, later])
        else:
            candidates = np.flatnonzero(left)
        slots, scores = best(self._rows(near.path), slots=candidates, query=vector, count=wanted)
        if near.min_score is not None:
            slots, scores = slots[scores >= near.min_score], scores[scores >= near.min_score]
        return slots, scores

    def _cut(self, slots: Slots, *, scores: Scores) -> list[tuple[int, float | None]]:
        """The slots of the page: best first, of equal scores the lesser id first."""
        first, end = self._query.offset, min(self._query.offset + self._query.limit, len(slots))
        if first >= end:
            return []
        falling = np.sort(scores)[::-1]
        inside = (scores <= falling[first]) & (scores >= falling[end - 1])
        before = int(np.count_nonzero(scores > falling[first]))
        score_of = dict(zip(slots[inside].tolist(), scores[inside].tolist(), strict=True))
        ids = self._ids(list(score_of))
        ranked = sorted(score_of, key=lambda slot: (-score_of[slot], ids[slot]))
        return [(slot, score_of[slot]) for slot in ranked[first - before : end - before]]

    def _ids(self, slots: list[int]) -> dict[int, str]:
        among, value = self._snapshot.tables.among("slot", slots)
        return dict(self._snapshot.tables.rows(f"SELECT slot, id FROM @documents WHERE {among}", (value,)))

    def _hits(self, found: list[tuple[int, float | None]]) -> list[Hit]:
        """The documents *found*, in their order."""
        among, value = self._snapshot.tables.among("slot", [slot for slot, _ in found])
        rows = self._snapshot.tables.rows(f"SELECT slot, id, body FROM @documents WHERE {among}", (value,))
        documents = {slot: (id, decode(body)) for slot, id, body in rows}
        hits = []
        for slot, score in found:
            id, (text, filters) = documents[slot]
            hits.append(Hit(id=id, score=score, fields={**text, **filters}))
        return hits

    def _facet(self, path: str) -> list[FacetCount]:
        """The values at *path* with how many documents have each, were there no condition on *path* itself."""
        among = self._left(passing=path)
        if self._query.near:
            among = self._comparable(among, near=self._query.near)
        counts = self._narrowing.counts(path, among=among)
        return [FacetCount(value=restored(value), count=count) for value, count in counts]


def described(held: Held, *, current: bool) -> Generation:
    """The generation *held*, with what it holds now."""
    with held.snapshot() as snapshot:
        [(remembered,)] = snapshot.tables.rows("SELECT remembered FROM @state")
        return Generation(
            number=held.generation.number,
            current=current,
            mapping=held.generation.mapping,
            versions=_versions(snapshot),
            documents=snapshot.narrowing.count(),
            remembered=remembered,
        )


def streamed(held: Held) -> Iterator[Row]:
    """
    What the generation *held* holds, sorted by id.

    Read in pages of one state each: a stream over a million documents keeps no transaction open for its length.
    """
    last = ""
    while True:
        with held.snapshot() as snapshot:
            rows = snapshot.tables.rows(
                "SELECT id, digest, complete, versions FROM @documents WHERE id > ? ORDER BY id LIMIT ?",
                (last, _STREAMED),
            )
        for id, digest, complete, versions in rows:
            yield Row(id=id, digest=digest, complete=bool(complete), versions=decode(versions))
        if len(rows) < _STREAMED:
            return
        last = rows[-1][0]


def _versions(snapshot: Snapshot) -> Mapping[str, str]:
    return {path: state.version for path, state in snapshot.vectors.items() if state.version}


def _slots_of(tables: Tables, *, ids: list[str]) -> list[tuple[int, str]]:
    """The slots of those of *ids* that are there."""
    among, value = tables.among("id", ids)
    return [(slot, id) for slot, id in tables.rows(f"SELECT slot, id FROM @documents WHERE {among}", (value,))]
