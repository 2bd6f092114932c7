"""The images API: a library's own form of asking for images, over the index of the collection ``images``."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import msgspec
from msgspec import Struct
from starlette.datastructures import URL, QueryParams
from starlette.responses import Response

from limner.api.auth import Caller
from limner.api.problems import status_of
from limner.api.schemas import builtins_of
from limner.app.looking import rows_at
from limner.app.searching import Indexed
from limner.domain.reads import where
from limner.domain.records import ExportRow
from limner.domain.values import Value
from limner.errors import LimnerError, NotFound
from limner.search.base import Near, Page, Query
from limner.search.encoders import near_by
from limner.systems.catalogue.images_query import (
    DATES,
    FACETS,
    FILTERS,
    BadQuery,
    Wanted,
    aggregations_of,
    dates_of,
    includes_of,
    wanted_of,
)
from limner.systems.catalogue.raw_work import licence_of
from limner.systems.catalogue.shapes import write_indexed

COLLECTION = "images"
_FEATURES = "features.vector"
_SIMILAR = 5
#: Left out of what is shown, at any depth, unless it is asked for.
_HIDDEN = ("contributors", "genres", "languages", "subjects")
_LABELS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


class Images:
    """Answers in the library's own shapes, errors included."""

    def answer(self, make: Callable[[], dict[str, Value]]) -> Response:
        """What *make* makes, or its error as this API tells it."""
        try:
            return _json(200, make())
        except BadQuery as error:
            return _error(error.status, str(error))
        except LimnerError as error:
            status = status_of(error)
            return _error(400 if status == 422 else status, str(error))

    def listing(self, caller: Caller, params: QueryParams, url: URL) -> dict[str, Value]:
        """One page of images."""
        wanted = wanted_of(params)
        includes = includes_of(params, single=False)
        facets = aggregations_of(params)
        one = caller.host.app.indexed(COLLECTION)
        with closing(one.index()) as index:
            asking = Asking(one, index.search)
            paths = {name: asking.path(name, FACETS[name].paths) for name in facets}
            page = asking.page(wanted, facets=tuple(dict.fromkeys(paths.values())))
            labels = {name: self._labels(caller, asking, name, page, path) for name, path in paths.items()}
        shown = _shown(caller, [hit.id for hit in page.hits], includes)
        pages = math.ceil(page.total / wanted.page_size)
        found: dict[str, Value] = {
            "type": "ResultList",
            "pageSize": wanted.page_size,
            "totalPages": pages,
            "totalResults": page.total,
            "results": shown,
        }
        if wanted.page > 1:
            found["prevPage"] = str(url.include_query_params(page=wanted.page - 1))
        if wanted.page < pages:
            found["nextPage"] = str(url.include_query_params(page=wanted.page + 1))
        if facets:
            found["aggregations"] = _aggregations(page, paths, labels)
        return found

    def single(self, caller: Caller, identity: str, params: QueryParams) -> dict[str, Value]:
        """One image, with those that look like it if asked."""
        includes = includes_of(params, single=True)
        shown = _shown(caller, [identity], includes)
        if not shown:
            raise BadQuery(f"Image not found for identifier {identity}", status=404)
        if "withSimilarFeatures" in includes:
            shown[0]["withSimilarFeatures"] = _shown(caller, _like(caller, identity), includes)
        return dict(shown[0])

    def _labels(self, caller: Caller, asking: "Asking", name: str, page: Page, path: str) -> dict[str, str]:
        """What the ids of a facet are called: licences by their table, concepts by a work that has them."""
        values = [str(one.value) for one in page.facets[path]]
        if name == "locations.license":
            return {value: licence_of(value)["label"] for value in values}
        concepts = FACETS[name].concepts
        found: dict[str, str] = {}
        for value in values if concepts else ():
            hits = asking.search(Query(filters=(where(path, "==", value),), limit=1)).hits
            for row in _rows(caller, [hit.id for hit in hits]):
                buckets = (row.parent_fields.get("facets") or {}).get(concepts) or []
                found.update((str(bucket["id"]), str(bucket["label"])) for bucket in buckets)
        return found


class Asking:
    """Asks one index in this API's terms."""

    def __init__(self, one: Indexed, search: Callable[[Query], Page]) -> None:
        self._one = one
        self.search = search

    def path(self, name: str, paths: Sequence[str], *, values: Sequence[str] | None = None) -> str:
        """
        The first of *paths* that the index holds and that has one of *values*, or any value.

        Raises:
            BadQuery: it holds none of them.
        """
        held = [path for path in paths if path in self._one.mapping.filters]
        if not held:
            raise BadQuery(f"{name}: it is not searched here; list {paths[0]} among the filters of the index")
        for path in held[:-1]:
            condition = where(path, "exists") if values is None else where(path, "in", list(values))
            if self.search(Query(filters=(condition,), limit=0)).total:
                return path
        return held[-1]

    def page(self, wanted: Wanted, *, facets: tuple[str, ...]) -> Page:
        """The page that is wanted, and the counts of *facets*."""
        near = None if wanted.colour is None else self._near(wanted.colour)
        named = [
            where(self.path(name, FILTERS[name], values=values), "in", list(values))
            for name, values in wanted.values.items()
        ]
        by_date = wanted.by_date and near is None
        return self.search(
            Query(
                text=wanted.query,
                filters=(*dates_of(wanted), *named),
                near=near,
                order=DATES if by_date else None,
                descending=by_date and wanted.descending,
                limit=wanted.page_size,
                offset=(wanted.page - 1) * wanted.page_size,
                facets=facets,
            )
        )

    def _near(self, colour: str) -> Near:
        return near_by(self._one.view.pipeline, kind="colour", value=f"#{colour}")


class _Bucket(Struct, frozen=True):
    id: str
    label: str
    count: int


def _aggregations(page: Page, paths: Mapping[str, str], labels: Mapping[str, Mapping[str, str]]) -> dict[str, Value]:
    found: dict[str, Value] = {"type": "Aggregations"}
    for name, path in paths.items():
        facet = FACETS[name]
        buckets = [
            _Bucket(str(one.value), labels[name].get(str(one.value), str(one.value)), one.count)
            for one in page.facets[path]
        ]
        buckets.sort(key=lambda bucket: (-bucket.count, bucket.label))
        found[facet.answers_as] = {
            "type": "Aggregation",
            "buckets": [
                {"data": {"id": b.id, "label": b.label}, "count": b.count, "type": "AggregationBucket"} for b in buckets
            ],
        }
    return found


def _like(caller: Caller, identity: str) -> list[str]:
    """Those that look most like an image; none where nothing was inferred about it."""
    one = caller.host.app.indexed(COLLECTION)
    if _FEATURES not in one.mapping.vectors:
        return []
    with closing(one.index()) as index:
        try:
            page = index.search(Query(near=Near(path=_FEATURES, like=identity), limit=_SIMILAR))
        except NotFound:
            return []
    return [hit.id for hit in page.hits]


def _rows(caller: Caller, ids: Sequence[str]) -> list[ExportRow]:
    """The live records with these ids, in their order."""
    app = caller.host.app
    with app.store.transaction() as tx:
        key = tx.records.find_collection(COLLECTION)
        if key is None:
            return []
        keys = tx.records.keys(key, ids)
        views = [view for view in app.views(tx) if COLLECTION in view.pipeline.collections()]
        return [row for _, row in rows_at(tx, views, COLLECTION, [keys[one] for one in ids if one in keys])]


def _shown(caller: Caller, ids: Sequence[str], includes: frozenset[str]) -> list[dict[str, Value]]:
    """The display of each image, without what was not asked for."""
    hidden = {name for name in _HIDDEN if f"source.{name}" not in includes}
    return [_without(write_indexed(row)["display"], hidden) for row in _rows(caller, ids)]


def _without(value: Value, hidden: set[str]) -> Value:
    if isinstance(value, dict):
        return {name: _without(item, hidden) for name, item in value.items() if name not in hidden}
    if isinstance(value, list):
        return [_without(item, hidden) for item in value]
    return value


def _json(status: int, body: dict[str, Value]) -> Response:
    return Response(msgspec.json.encode(builtins_of(body)), status_code=status, media_type="application/json")


def _error(status: int, description: str) -> Response:
    body = {
        "type": "Error",
        "errorType": "http",
        "httpStatus": status,
        "label": _LABELS.get(status, "Service Unavailable"),
        "description": description,
    }
    response = _json(status, body)
    if status == 503:
        response.headers["retry-after"] = "2"
    return response
