"""The three forms in which a library's catalogue hands images on: initial, augmented, indexed; both ways."""

from collections.abc import Mapping
from copy import deepcopy

from limner.domain.records import ExportRow, NotARecord, RecordIn, Shape
from limner.domain.values import Value, at_path, plain
from limner.sources.times import milliseconds
from limner.systems.catalogue.raw_work import (
    LABELS,
    display_of,
    facets_of,
    filters_of,
    licence_of,
    location_of,
    words_of,
    work_of_words,
)
from limner.systems.catalogue.shape_tables import (
    AUGMENTED_IMAGE,
    COLOUR,
    IN_AUGMENTED,
    IN_INDEXED,
    INDEXED_IMAGE,
    INDEXED_WORK,
    RATIO,
    RAW_WORK,
    SINGLE,
    TEXTS,
    Moves,
    Place,
)

#: Collection of the works that images belong to.
WORKS = "works"


def read_augmented(document: Mapping[str, Value], collection: str) -> list[RecordIn]:
    """
    The work and the image of an initial or augmented image.

    What was inferred becomes ``given.STAGE``; an empty vector was not inferred and is absent. Both records have the
    image's ``modifiedTime`` in milliseconds for their source version.

    Raises:
        NotARecord: ids or places have the wrong type.
    """
    rest = deepcopy(dict(document))
    raw = rest.pop("source", None)
    work_id = _identifier(raw, ("id", "canonicalId"), name="source.id.canonicalId")
    image_id = _identifier(rest, ("state", "canonicalId"), name="state.canonicalId")
    fields = _given(rest, IN_AUGMENTED)
    _take(rest, ("state", "canonicalId"))
    _move(rest, fields, AUGMENTED_IMAGE)
    if rest:
        fields["augmented"] = rest
    fields |= _address(fields.get("locations"))
    work = words_of(raw)
    _move(raw, work, RAW_WORK)
    return _pair(collection, image_id, fields, work_id, _present(work) | {"source": raw})


def read_indexed(document: Mapping[str, Value], collection: str) -> list[RecordIn]:
    """
    The work and the image of an indexed image; an envelope around it (``document``, ``_source``) is opened.

    Where both vectors are empty lists nothing was inferred: a ratio of 1 and a colour of #ffffff beside them are
    fillers, which become absent.

    Raises:
        NotARecord: ids or places have the wrong type.
    """
    rest = deepcopy(dict(_opened(document)))
    image_id = _identifier(rest, ("query", "id"), name="query.id")
    work_id = _identifier(rest, ("query", "source", "id"), name="query.source.id")
    _drop_fillers(rest)
    fields = _given(rest, IN_INDEXED)
    work: dict[str, Value] = {}
    _move(rest, work, INDEXED_WORK)
    _take(rest, ("query", "id"))
    _take(rest, ("query", "source", "id"))
    shown = at_path(rest, ("display", "source"))
    if isinstance(shown, dict):
        _take(rest, ("display", "source"))
        moved = {"id": work_id, "title": work.get("title")}
        work["display"] = {name: value for name, value in shown.items() if value is None or moved.get(name) != value}
    _move(rest, fields, INDEXED_IMAGE)
    if rest:
        fields["indexed"] = rest
    fields |= _address(at_path(fields, ("display", "locations")))
    return _pair(collection, image_id, fields, work_id, work)


def write_augmented(row: ExportRow) -> dict[str, Value]:
    """
    *row* as an augmented image.

    Raises:
        NotARecord: it came in another form, which lacks what this one needs.
    """
    image, work = row.record.fields, row.parent_fields
    if not isinstance(work.get("source"), dict):
        raise NotARecord(
            f"{row.record.id} did not come as an initial or augmented image, so it cannot leave as one; "
            f"export it with --shape indexed."
        )
    document: dict[str, Value] = deepcopy(image.get("augmented", {}))
    document.setdefault("state", {})["canonicalId"] = row.record.id
    document["state"].setdefault("inferredData", {})
    _place(image, document, AUGMENTED_IMAGE)
    _place(inferred(row), document, IN_AUGMENTED)
    document["source"] = deepcopy(work["source"])
    _place(work, document["source"], RAW_WORK)
    return document


def write_initial(row: ExportRow) -> dict[str, Value]:
    """*row* as an initial image: as augmented, without what was inferred. Raises NotARecord like that."""
    document = write_augmented(row)
    document["state"].pop("inferredData")
    document["state"].pop("augmentedTime", None)
    return document


def write_indexed(row: ExportRow) -> dict[str, Value]:
    """
    *row* as an indexed image, wherever it came from; what is not known is absent, vectors are then empty lists.

    Ratio and colour are never filled in. ``debug`` is there only where it came along.
    """
    record = row.record
    work_id = record.parent[1] if record.parent else record.id
    image, work = _indexable_image(record.fields), _indexable_work(row, identifier=work_id)
    document: dict[str, Value] = deepcopy(record.fields.get("indexed", {}))
    _place(image, document, INDEXED_IMAGE)
    for group in ("vectorValues", "display", "query"):
        document[group] = dict(document.get(group, {}))
    document["vectorValues"] = {"features": [], "paletteEmbedding": [], **document["vectorValues"]}
    _place(inferred(row), document, IN_INDEXED)
    document["query"] |= {"id": record.id, "source": {"id": work_id, **document["query"].get("source", {})}}
    _place(work, document, INDEXED_WORK)
    shown = _present({"id": work_id, "title": work.get("title")}) | work["display"]
    document["display"] = {"id": record.id, "type": "Image", **document["display"], "source": shown}
    return document


def inferred(row: ExportRow) -> dict[str, Value]:
    """
    What is inferred about an image, by stage: the results; where no stage has any, what the record brought along.

    The two are never mixed within one record.
    """
    stages = ("palette", "features", "aspect_ratio")
    results = {stage: row.values[stage] for stage in stages if stage in row.values}
    given = row.record.fields.get("given")
    return results or (given if isinstance(given, dict) else {})


INITIAL = Shape(
    name="initial",
    about="An image with its work inside, before anything was inferred.",
    read=read_augmented,
    write=write_initial,
)
AUGMENTED = Shape(
    name="augmented",
    about="An image with its work inside and what was inferred about it.",
    read=read_augmented,
    write=write_augmented,
)
INDEXED = Shape(
    name="indexed",
    about="An image as the search index holds it: display, query, facets, filters, vectors.",
    read=read_indexed,
    write=write_indexed,
)
SHAPES = {shape.name: shape for shape in (INITIAL, AUGMENTED, INDEXED)}


def _pair(
    collection: str, image_id: str, image: dict[str, Value], work_id: str, work: dict[str, Value]
) -> list[RecordIn]:
    version = _version(image.get("modifiedTime"))
    return [
        RecordIn(collection=WORKS, id=work_id, fields=work, source_version=version),
        RecordIn(collection=collection, id=image_id, fields=image, source_version=version, parent=(WORKS, work_id)),
    ]


def _version(modified: Value) -> int | None:
    """The source version: when it was modified, in milliseconds."""
    if modified is None or type(modified) is int:
        return modified
    try:
        return milliseconds(str(modified))
    except ValueError as error:
        raise NotARecord(f"modifiedTime {error}.") from error


def _indexable_image(fields: Mapping[str, Value]) -> dict[str, Value]:
    """*fields* with the parts of an indexed image, made of raw locations or of the address where they lack."""
    if "display" in fields:
        return dict(fields)
    raw = fields.get("locations")
    if not isinstance(raw, list):
        url, licence = fields.get("image_url"), fields.get("licence")
        place = {"url": url, "locationType": {"id": "iiif-image"}, "license": {"id": licence} if licence else None}
        raw = [place] if url else []
    shown = [location_of(place) for place in raw]
    licences = [place["license"]["id"] for place in shown if "license" in place]
    served = [place for place in shown if place["locationType"]["id"] == "iiif-image"]
    return {
        **fields,
        "display": _present({"locations": shown, "thumbnail": served[0] if served else None}),
        "licences": licences,
        "facets": {"licences": [_bucket(licence) for licence in dict.fromkeys(licences)]},
    }


def _indexable_work(row: ExportRow, *, identifier: str) -> dict[str, Value]:
    """
    The fields of the parent with the parts of an indexed work, made of the raw work or of plain words where they lack.

    An image without a work is a work of its own: its own words are searched.
    """
    own = {name: row.record.fields[name] for name in (*TEXTS.values(), *LABELS) if name in row.record.fields}
    fields = dict(row.parent_fields or own)
    if "display" in fields:
        return fields
    raw = fields.get("source")
    if not isinstance(raw, dict):
        raw = work_of_words(fields, identifier=identifier)
        fields = _present(words_of(raw)) | fields | {name: words_of(raw)[name] for name in LABELS}
    made = {"facets": facets_of(raw), "filters": filters_of(raw), "display": display_of(raw)}
    return {**made, **fields}


def _bucket(licence: str) -> dict[str, str]:
    return {"id": licence, "label": licence_of(licence)["label"]}


def _given(rest: dict[str, Value], moves: Moves) -> dict[str, Value]:
    """``{"given": …}`` of what was inferred, taken out of *rest*; empty where nothing was."""
    given: dict[str, Value] = {}
    for start, end in moves.items():
        value = at_path(rest, start)
        if value is None or value == []:
            continue
        if not _fits(value, end):
            raise NotARecord(f"{'.'.join(start)} is {str(value)[:60]}, which is no {' '.join(end)}.")
        _take(rest, start)
        _put(given, end, value)
    return {"given": given} if given else {}


def _fits(value: Value, place: Place) -> bool:
    if place == COLOUR:
        return isinstance(value, str)
    numbers = value if isinstance(value, list) else [value] if place == RATIO else [None]
    return (place == RATIO) != isinstance(value, list) and all(type(number) in (int, float) for number in numbers)


def _drop_fillers(rest: dict[str, Value]) -> None:
    """Forget the ratio and colour that stand for "not inferred"."""
    if at_path(rest, ("vectorValues",)) != {"features": [], "paletteEmbedding": []}:
        return
    for name, filler in (("aspectRatio", 1), ("averageColor", "#ffffff")):
        if at_path(rest, ("display", name)) == filler:
            _take(rest, ("display", name))


def _address(locations: Value) -> dict[str, Value]:
    """The picture's address and licence: those of the first place where the image server has it."""
    if locations is None:
        return {}
    if not isinstance(locations, list) or not all(isinstance(place, dict) for place in locations):
        raise NotARecord("locations is no list of objects.")
    licences = [at_path(place, ("license", "id")) for place in locations]
    served = [place for place in locations if at_path(place, ("locationType", "id")) == "iiif-image"]
    found = {
        "image_url": served[0].get("url") if served else None,
        "licence": at_path(served[0], ("license", "id")) if served else None,
    }
    found["licence"] = found["licence"] or next((licence for licence in licences if licence), None)
    if not all(isinstance(value, str | None) for value in found.values()):
        raise NotARecord("The url or license.id of a location is no text.")
    return _present(found)


def _opened(document: Mapping[str, Value]) -> Mapping[str, Value]:
    for envelope in ("document", "_source"):
        inner = document.get(envelope)
        if isinstance(inner, dict) and "query" not in document:
            return inner
    return document


def _identifier(holder: Value, path: Place, *, name: str) -> str:
    value = at_path(holder, path)
    if not isinstance(value, str) or not value:
        raise NotARecord(f"{name} is missing or no text.")
    return value


def _present(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def _move(document: dict[str, Value], fields: dict[str, Value], moves: Moves) -> None:
    """Take out of *document* what *moves* names, null left alone, and put it among *fields*."""
    for start, end in moves.items():
        if at_path(document, start) is not None:
            _put(fields, end, _take(document, start))


def _place(fields: Mapping[str, Value], document: dict[str, Value], moves: Moves) -> None:
    """The way back: put what *fields* have where *moves* says."""
    for start, end in moves.items():
        value = at_path(fields, end)
        if value is None and moves is INDEXED_WORK and end[0] not in SINGLE:
            value = []
        if value is not None:
            _put(document, start, plain(value))


def _take(holder: dict[str, Value], path: Place) -> Value:
    """Take out of *holder* what stands at *path*, and with it the objects that this leaves empty."""
    if len(path) == 1:
        return holder.pop(path[0])
    inner = holder[path[0]]
    taken = _take(inner, path[1:])
    if not inner:
        del holder[path[0]]
    return taken


def _put(holder: dict[str, Value], path: Place, value: Value) -> None:
    for step in path[:-1]:
        holder = holder.setdefault(step, {})
    holder[path[-1]] = value
