"""Invented catalogue documents, and a check of documents against a strict index mapping."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from limner.domain.records import ExportRow, RecordIn
from limner.domain.values import Value

Document: TypeAlias = dict[str, Any]


def concept(label: str, identifier: str | None = None, *, kind: str = "Concept") -> Document:
    """A concept as the pipeline keeps it."""
    if identifier is None:
        return {"id": {"type": "Unidentifiable"}, "label": label, "type": kind}
    source = {"identifierType": {"id": "lc"}, "ontologyType": kind, "value": f"src-{identifier}"}
    identity = {"canonicalId": identifier, "sourceIdentifier": source, "otherIdentifiers": [], "type": "Identified"}
    return {"id": identity, "label": label, "type": kind}


def augmented(*, identifier: str = "img1", work: str = "wrk1") -> Document:
    """An invented augmented image with everything that the form knows."""
    foot, feet = concept("Foot", "cfoot"), concept("Feet")
    return {
        "state": {
            "sourceIdentifier": {"identifierType": {"id": "plate"}, "ontologyType": "Image", "value": "P1"},
            "canonicalId": identifier,
            "inferredData": {
                "features": [0.6, 0.8],
                "paletteEmbedding": [1.0, 0.0, 0.0],
                "averageColorHex": "#a1b2c3",
                "aspectRatio": 1.5,
            },
            "augmentedTime": "2025-04-02T10:00:00Z",
        },
        "source": {
            "id": {
                "canonicalId": work,
                "sourceIdentifier": {"identifierType": {"id": "shelf"}, "ontologyType": "Work", "value": "S 1"},
                "otherIdentifiers": [{"identifierType": {"id": "old"}, "ontologyType": "Work", "value": "old-1"}],
                "type": "Identified",
            },
            "data": {
                "title": "A book of feet",
                "description": None,
                "lettering": "Foot; hand",
                "alternativeTitles": ["Feet, a book"],
                "otherIdentifiers": [{"value": "other-1"}],
                "subjects": [{**foot, "concepts": [foot, feet]}],
                "genres": [{"label": "Etching", "concepts": [concept("Etching.", "cetch", kind="GenreConcept")]}],
                "contributors": [
                    {"agent": concept("Plate, Ada, 1700-1750.", "cada", kind="Person"), "roles": [], "primary": True},
                    {"agent": concept("Nobody", kind="Agent"), "roles": [{"label": "printer"}], "primary": False},
                ],
                "production": [
                    {
                        "label": "Ghent 1098",
                        "places": [concept("Ghent")],
                        "agents": [],
                        "dates": [
                            {"label": "1098", "range": {"from": "1098-01-01T00:00:00Z", "label": "1098"}},
                            {"label": "who knows", "range": {"from": "who knows"}},
                        ],
                    }
                ],
                "languages": [{"id": "lat", "label": "Latin"}],
                "notes": [{"contents": "Torn.", "noteType": {"id": "general"}}],
                "items": [
                    {
                        "id": {"canonicalId": "itm1", "sourceIdentifier": {"value": "i1"}},
                        "locations": [{"shelfmark": "EPB 1", "type": "PhysicalLocation"}],
                    }
                ],
                "imageData": [{"id": {"canonicalId": identifier, "sourceIdentifier": {"value": "P1"}}}],
                "workType": "Standard",
            },
            "version": 4,
        },
        "locations": [
            {
                "url": "https://iiif.example/presentation/1",
                "locationType": {"id": "iiif-presentation"},
                "license": {"id": "cc-by"},
                "accessConditions": [],
                "type": "DigitalLocation",
            },
            {
                "url": "https://iiif.example/image/1/info.json",
                "locationType": {"id": "iiif-image"},
                "license": {"id": "pdm"},
                "credit": "The library",
                "accessConditions": [{"method": {"type": "ViewOnline"}, "status": {"type": "OpenWithAdvisory"}}],
                "type": "DigitalLocation",
            },
        ],
        "version": 3,
        "modifiedTime": "2025-04-01T10:00:00Z",
    }


def row_of(records: list[RecordIn], *, values: Mapping[str, Value] | None = None) -> ExportRow:
    """What a sink is given of the work and the image that one document brought."""
    work, image = records
    return ExportRow(record=image, parent_fields=work.fields, values=values or {})


def complaints(document: Document, mapping: Mapping[str, Any], *, path: str = "") -> Iterator[str]:
    """What a strict index with *mapping* refuses in *document*; dotted names are nested ones."""
    if mapping.get("enabled") is False or mapping.get("dynamic") is False:
        return
    for name, value in document.items():
        field: Mapping[str, Any] | None = mapping
        for step in name.split("."):
            field = (field or {}).get("properties", {}).get(step)
        place = f"{path}{name}"
        if field is None:
            yield f"{place} is not mapped"
            continue
        for item in value if isinstance(value, list) and field.get("type") != "dense_vector" else [value]:
            yield from _of_value(item, field, place=place)


def _of_value(value: Value, field: Mapping[str, Any], *, place: str) -> Iterator[str]:
    kind = field.get("type", "object")
    if kind in ("object", "nested"):
        if isinstance(value, dict):
            yield from complaints(value, field, path=f"{place}.")
        else:
            yield f"{place} is no object"
    elif kind == "dense_vector":
        if value and (len(value) != field["dims"] or not all(isinstance(n, float) for n in value)):
            yield f"{place} has {len(value)} numbers"
    elif kind in ("keyword", "text") and not isinstance(value, str | None):
        yield f"{place} is no text"
    elif kind == "date" and not isinstance(value, str | int):
        yield f"{place} is no date"
