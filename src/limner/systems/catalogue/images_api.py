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
from limner.domain.reads import Condition, where
from limner.domain.records import ExportRow
from limner.domain.values import Value
from limner.errors import LimnerError, NotFound
from limner.search.base import Near, Page, Query
from limner.search.encoders import near_by
from limner.systems.catalogue.images_query import (
    FACETS,
    BadQuery,
    Wanted,
    aggregations_of,
    filters_of,
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
            page, filters = _asked(one, lambda query: index.search(query), wanted, facets)
            labels = {name: _labels(index.search, name, page, filters, caller) for name in facets}
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
            found["aggregations"] = _aggregations(page, facets, labels)
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


def _asked(
    one: Indexed, search: Callable[[Query], Page], wanted: Wanted, facets: Sequence[str]
) -> tuple[Page, tuple[Condition, ...]]:
    """The page of the index, and the conditions that led to it."""
    near = None if wanted.colour is None else near_by(one.view.pipeline, kind="colour", value=f"#{wanted.colour}")
    found: tuple[Page, tuple[Condition, ...]] | None = None
    for filters in filters_of(wanted):
        page = search(_query(wanted, filters, near, facets))
        # A concept is named by its id, or by its identifier in the source: whichever finds something.
        if found is None or (not found[0].total and page.total):
            found = page, filters
    if found is None:
        raise AssertionError("there is always one way to filter")
    return found


def _query(wanted: Wanted, filters: tuple[Condition, ...], near: Near | None, facets: Sequence[str]) -> Query:
    by_date = wanted.by_date and near is None
    return Query(
        text=wanted.query,
        filters=filters,
        near=near,
        order="parent.production_dates" if by_date else None,
        descending=by_date and wanted.descending,
        limit=wanted.page_size,
        offset=(wanted.page - 1) * wanted.page_size,
        facets=tuple(FACETS[name].path for name in facets),
    )


class _Bucket(Struct, frozen=True):
    id: str
    label: str
    count: int


def _aggregations(page: Page, facets: Sequence[str], labels: Mapping[str, Mapping[str, str]]) -> dict[str, Value]:
    found: dict[str, Value] = {"type": "Aggregations"}
    for name in facets:
        facet = FACETS[name]
        buckets = [
            _Bucket(str(one.value), labels[name].get(str(one.value), str(one.value)), one.count)
            for one in page.facets[facet.path]
        ]
        buckets.sort(key=lambda bucket: (-bucket.count, bucket.label))
        found[facet.answers_as] = {
            "type": "Aggregation",
            "buckets": [
                {"data": {"id": b.id, "label": b.label}, "count": b.count, "type": "AggregationBucket"} for b in buckets
            ],
        }
    return found


def _labels(
    search: Callable[[Query], Page], name: str, page: Page, filters: tuple[Condition, ...], caller: Caller
) -> dict[str, str]:
    """What the ids of a facet are called: licences by their table, concepts by a work that has them."""
    facet = FACETS[name]
    values = [str(one.value) for one in page.facets[facet.path]]
    if name == "locations.license":
        return {value: licence_of(value)["label"] for value in values}
    if facet.concepts is None:
        return {}
    found: dict[str, str] = {}
    for value in values:
        hits = search(Query(filters=(where(facet.path, "==", value),), limit=1)).hits
        for row in _rows(caller, [hit.id for hit in hits]):
            buckets = (row.parent_fields.get("facets") or {}).get(facet.concepts) or []
            found.update((str(bucket["id"]), str(bucket["label"])) for bucket in buckets)
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
