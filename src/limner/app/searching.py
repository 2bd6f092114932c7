"""Searching: which index answers for a collection, and from what a user asks to one query."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from limner.domain.nodes import Node
from limner.domain.reads import Condition, where
from limner.domain.tasks import Runtime
from limner.domain.values import Value, at_path
from limner.domain.versions import Version
from limner.engine.dispatcher import runtime_of
from limner.engine.views import View
from limner.errors import MissingExtra, NotFound, UsageError
from limner.search.base import Near, Page, Query, SearchIndex
from limner.search.conditions import typed
from limner.search.encoders import near_by
from limner.search.follower import Follower
from limner.search.kept import Indexes
from limner.search.mapping import mapping_of
from limner.store.store import Store

_WHERE = re.compile(r"(?P<path>[^=!<>]+?)\s*(?P<compare>==|!=|<=|>=|=|<|>)\s*(?P<value>.*)", re.DOTALL)


class Indexed:
    """One collection of a pipeline with its index."""

    def __init__(self, *, store: Store, indexes: Indexes, view: View, collection: str) -> None:
        self.view = view
        self.collection = collection
        self.mapping = mapping_of(view.pipeline, collection=collection)
        self._store = store
        self._indexes = indexes

    @property
    def wanted(self) -> bool:
        """Whether anything of the collection is searched."""
        return bool(self.mapping.text or self.mapping.filters or self.mapping.vectors)

    def index(self) -> SearchIndex:
        """The index; its parts are loaded when they are needed."""
        return self._indexes.open(f"{self.view.pipeline.name}.{self.collection}")

    def follower(self, index: SearchIndex) -> Follower:
        """What keeps *index*."""
        return Follower(
            store=self._store, index=index, view=self.view, mapping=self.mapping, collection=self.collection
        )


def indexed_collections(store: Store, indexes: Indexes, view: View) -> list[Indexed]:
    """The collections of a pipeline of which anything is searched."""
    found = [Indexed(store=store, indexes=indexes, view=view, collection=name) for name in view.pipeline.collections()]
    return [one for one in found if one.wanted]


def catch_up(store: Store, indexes: Indexes, view: View, *, progress: Callable[[int], None]) -> None:
    """Let the indexes of a pipeline take in what changed; without the search extra there is none to keep."""
    for one in indexed_collections(store, indexes, view):
        try:
            index = one.index()
        except MissingExtra:
            return
        try:
            one.follower(index).catch_up(progress=progress)
        finally:
            index.close()


class Question:
    """What a user asks of one collection."""

    def __init__(
        self,
        one: Indexed,
        *,
        versions: Mapping[int, Version],
        infer: Callable[[Runtime, Path], Value],
    ) -> None:
        """*versions* are those served, by node; *infer* says what a runtime makes of a file."""
        self._one = one
        self._versions = versions
        self._infer = infer

    def near(
        self,
        *,
        similar: str | None,
        file: Path | None,
        on: str | None,
        by: Mapping[str, str],
        min_score: float | None,
    ) -> Near | None:
        """
        The likeness that is asked for, by a record, a file or a kind of query.

        Raises:
            UsageError: more than one was asked for, or the collection has no such vector.
        """
        asked = [bool(similar), file is not None, *(True for _ in by)]
        if sum(asked) > 1:
            raise UsageError("Ask for likeness in one way: --similar, --file or one --by.")
        if by:
            kind, value = next(iter(by.items()))
            found = near_by(self._one.view.pipeline, kind=kind, value=value)
            return structs.replace(found, min_score=min_score)
        if similar:
            return Near(path=self._path(on), like=similar, min_score=min_score)
        return None if file is None else self._near_file(file, path=self._path(on), min_score=min_score)

    def _path(self, on: str | None) -> str:
        """The vector that is compared: the one asked for, else the first that the index lists."""
        known = list(dict.fromkeys([*self._one.view.pipeline.index.vectors, *self._one.mapping.vectors]))
        if on is not None and on not in self._one.mapping.vectors:
            raise UsageError(f"{self._one.collection} has no vector {on}; it has: {', '.join(known) or 'none'}")
        if on is None and not known:
            raise UsageError(f"{self._one.collection} has no vectors, so nothing can be compared by likeness.")
        return on or known[0]

    def _near_file(self, file: Path, *, path: str, min_score: float | None) -> Near:
        """Likeness to a file: its vector is inferred now, by the version whose vectors are compared."""
        stage, _, rest = path.partition(".")
        node = next((n for n in self._one.view.nodes if n.stage.name == stage), None)
        if node is None or not _reads_one_file(node):
            raise UsageError(f"{path} is not inferred from a file, so --file cannot be compared with it.")
        version = self._versions[node.pk]
        value = self._infer(runtime_of(self._one.view, node, version), file)
        vector = at_path(value, tuple(rest.split(".")))
        return Near(path=path, vector=vector, version=version.digest, min_score=min_score)

    def conditions(self, asked: Sequence[str]) -> tuple[Condition, ...]:
        """``path=value``, ``path>=value`` … as conditions; several values of one path after ``=`` mean any of them."""
        found: list[Condition] = []
        equal: dict[str, list[Value]] = {}
        for text in asked:
            match = _WHERE.fullmatch(text)
            if match is None:
                raise UsageError(f"--where {text!r} is no comparison; write PATH=VALUE, or != < <= > >=.")
            path, compare = match["path"].strip(), match["compare"]
            value = typed(match["value"].strip(), path=path, mapping=self._one.mapping)
            if compare in ("=", "=="):
                equal.setdefault(path, []).append(value)
            else:
                found.append(where(path, compare, value))
        for path, values in equal.items():
            found.append(where(path, "in", values) if len(values) > 1 else where(path, "==", values[0]))
        return tuple(found)


def comparison_of(text: str) -> Condition:
    """
    ``path=value``, ``path>=value`` … as a condition on values of any kind: read as JSON where it is JSON.

    Raises:
        UsageError: it is no comparison.
    """
    match = _WHERE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no comparison; write PATH=VALUE, or != < <= > >=.")
    given = match["value"].strip()
    try:
        value = msgspec.json.decode(given)
    except msgspec.DecodeError:
        value = given
    if isinstance(value, list | dict):
        value = given
    compare = "==" if match["compare"] == "=" else match["compare"]
    return where(match["path"].strip(), compare, value)


def _reads_one_file(node: Node) -> bool:
    return len(node.sources) == 1 and node.sources[0].read.file is not None


def answer(index: SearchIndex, query: Query, *, collection: str, pipeline: str) -> Page:
    """
    The index's answer.

    Raises:
        NotFound: the collection was never indexed.
    """
    if not any(generation.current for generation in index.generations()):
        raise NotFound(f"{collection} is not indexed yet; run: limner index {pipeline}")
    return index.search(query)
