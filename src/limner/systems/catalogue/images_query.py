"""What a request of the images API asks for, and what is wrong with it, in that API's own words."""

import csv
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct, field
from starlette.datastructures import QueryParams

from limner.domain.reads import Condition, where
from limner.errors import UsageError

#: Images that can be paged to.
_REACHABLE = 10_000
_TOO_FAR = (
    f"Only the first {_REACHABLE} images are available in the API. If you want more images, you can download a "
    "snapshot of the complete catalogue: https://developers.wellcomecollection.org/docs/datasets"
)
_COLOUR = re.compile(r"[0-9a-fA-F]{6}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
DATES = "parent.production_dates"
#: By parameter: the paths that it may be about. The first that the index holds and that finds something is taken: a
#: concept is named by its id or by its identifier in the source, and records from a table have plain labels.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "locations.license": ("licences", "licence"),
    "source.contributors.agent.label": ("parent.filters.contributors.labels", "parent.contributors"),
    "source.contributors.agent": ("parent.filters.contributors.ids", "parent.filters.contributors.identifiers"),
    "source.genres.label": ("parent.filters.genres.labels", "parent.genres"),
    "source.genres": ("parent.filters.genres.ids", "parent.filters.genres.identifiers"),
    "source.subjects.label": ("parent.filters.subjects.labels", "parent.subjects"),
    "source.subjects": ("parent.filters.subjects.ids", "parent.filters.subjects.identifiers"),
}
_INCLUDES = ("source.contributors", "source.languages", "source.genres", "source.subjects")
_SIMILAR = "withSimilarFeatures"


class BadQuery(UsageError):
    """A request that this API refuses, in its own words."""

    def __init__(self, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Facet(Struct, frozen=True, kw_only=True):
    """One aggregation."""

    #: Paths of the index whose values are counted: the first that the index holds and that has values.
    paths: tuple[str, ...]
    #: Name in the answer.
    answers_as: str
    #: Where the counted values are ids: the list of a work that tells their labels.
    concepts: str | None = None


def _facet(name: str) -> Facet:
    kind = name.removeprefix("source.").partition(".")[0]
    if name.endswith(".label"):
        return Facet(paths=FILTERS[name], answers_as=name)
    return Facet(paths=FILTERS[name][:1], answers_as=name, concepts=kind)


FACETS: Mapping[str, Facet] = {
    "locations.license": Facet(paths=FILTERS["locations.license"], answers_as="license"),
    **{name: _facet(name) for name in FILTERS if name != "locations.license"},
}


class Wanted(Struct, frozen=True, kw_only=True):
    """What a request for a list of images asks for."""

    page: int
    page_size: int
    query: str = ""
    #: Six hexadecimal digits.
    colour: str | None = None
    #: By parameter: the values of which one is enough.
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: First and last moment, in milliseconds.
    since: int | None = None
    until: int | None = None
    by_date: bool = False
    descending: bool = False


def wanted_of(params: QueryParams) -> Wanted:
    """
    What the parameters of a list ask for.

    Raises:
        BadQuery: one of them is not right.
    """
    page, size = _number(params, "page", 1), _number(params, "pageSize", 10)
    if page < 1:
        raise BadQuery("page: must be greater than 1")
    if not 1 <= size <= 100:
        raise BadQuery("pageSize: must be between 1 and 100")
    if page * size > _REACHABLE:
        raise BadQuery(_TOO_FAR)
    colour = params.get("color") or None
    if colour is not None and not _COLOUR.fullmatch(colour):
        raise BadQuery(f"color: '{colour}' is not a valid value. Please supply a single hex string.")
    sort = _one_of(params, "sort", ("source.production.dates",))
    order = _one_of(params, "sortOrder", ("asc", "desc"))
    until = _day(params, "source.production.dates.to")
    return Wanted(
        page=page,
        page_size=size,
        query=params.get("query", ""),
        colour=colour,
        values={name: values for name in FILTERS if (values := _listed(params.get(name, "")))},
        since=_milliseconds(_day(params, "source.production.dates.from")),
        until=None if until is None else (_milliseconds(until + timedelta(days=1)) or 0) - 1,
        by_date=sort is not None,
        descending=order == "desc",
    )


def dates_of(wanted: Wanted) -> list[Condition]:
    """The conditions on dates."""
    found = []
    if wanted.since is not None:
        found.append(where(DATES, ">=", wanted.since))
    if wanted.until is not None:
        found.append(where(DATES, "<=", wanted.until))
    return found


def includes_of(params: QueryParams, *, single: bool) -> frozenset[str]:
    """
    What is shown besides.

    Raises:
        BadQuery: something is asked for that there is not, or not here.
    """
    known = (*_INCLUDES, _SIMILAR) if single else _INCLUDES
    return frozenset(_checked(_listed(params.get("include", "")), known, name="include"))


def aggregations_of(params: QueryParams) -> list[str]:
    """
    The facets that are counted.

    Raises:
        BadQuery: there is no such facet.
    """
    return list(dict.fromkeys(_checked(_listed(params.get("aggregations", "")), tuple(FACETS), name="aggregations")))


def _checked(given: Sequence[str], known: Sequence[str], *, name: str) -> Sequence[str]:
    wrong = [value for value in given if value not in known]
    if wrong:
        shown = ", ".join(f"'{value}'" for value in wrong)
        verb = "is not a valid value" if len(wrong) == 1 else "are not valid values"
        choices = ", ".join(f"'{value}'" for value in known)
        raise BadQuery(f"{name}: {shown} {verb}. Please choose one of: [{choices}]")
    return given


def _one_of(params: QueryParams, name: str, known: Sequence[str]) -> str | None:
    given = params.get(name) or None
    if given is not None:
        _checked([given], known, name=name)
    return given


def _number(params: QueryParams, name: str, usual: int) -> int:
    given = params.get(name, "")
    if not given:
        return usual
    try:
        return int(given)
    except ValueError:
        raise BadQuery(f"{name}: must be a valid Integer") from None


def _listed(given: str) -> list[str]:
    """Values with commas between them; one that holds a comma stands in double quotes."""
    if not given.strip():
        return []
    row = next(csv.reader([given], skipinitialspace=True), [])
    return [value.strip() for value in row if value.strip()]


def _day(params: QueryParams, name: str) -> date | None:
    given = params.get(name, "")
    if not given:
        return None
    try:
        if not _DATE.fullmatch(given):
            raise ValueError(given)
        return date.fromisoformat(given)
    except ValueError:
        raise BadQuery(f"{name}: Invalid date encoding. Expected YYYY-MM-DD") from None


def _milliseconds(day: date | None) -> int | None:
    if day is None:
        return None
    since = datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)
