"""From a work as the catalogue's pipeline keeps it to the words, facets, filters and display of the search index."""

from collections.abc import Iterable, Iterator, Mapping

from limner.domain.values import Value
from limner.sources.times import milliseconds

#: The words of a work that are lists of labels, also where they come from a table.
LABELS = ("contributors", "subjects", "genres", "languages", "notes", "production")
#: What the catalogue calls each way of reading, by the name that its pipeline uses.
_METHODS = {
    "OnlineRequest": "Online request",
    "ManualRequest": "Manual request",
    "NotRequestable": "Not requestable",
    "ViewOnline": "View online",
    "OpenShelves": "Open shelves",
}
_STATUSES = {
    "Open": "Open",
    "OpenWithAdvisory": "Open with advisory",
    "Restricted": "Restricted",
    "Safeguarded": "Safeguarded",
    "ByAppointment": "By appointment",
    "TemporarilyUnavailable": "Temporarily unavailable",
    "Unavailable": "Unavailable",
    "Closed": "Closed",
    "LicensedResources": "Licensed resources",
    "PermissionRequired": "Permission required",
}
_PLACES = {
    "closed-stores": "Closed stores",
    "open-shelves": "Open shelves",
    "on-exhibition": "On exhibition",
    "on-order": "On order",
    "iiif-presentation": "IIIF Presentation API",
    "iiif-image": "IIIF Image API",
    "thumbnail-image": "Thumbnail image",
    "online-resource": "Online resource",
}
_CC = "creativecommons.org/licenses"
_LICENCES = {
    "cc-by": ("Attribution 4.0 International (CC BY 4.0)", f"http://{_CC}/by/4.0/"),
    "cc-by-nc": ("Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)", f"https://{_CC}/by-nc/4.0/"),
    "cc-by-nc-nd": (
        "Attribution-NonCommercial-NoDerivatives 4.0 International (CC BY-NC-ND 4.0)",
        f"https://{_CC}/by-nc-nd/4.0/",
    ),
    "cc-0": ("CC0 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/legalcode"),
    "pdm": ("Public Domain Mark", "https://creativecommons.org/share-your-work/public-domain/pdm/"),
    "cc-by-nd": ("Attribution-NoDerivatives 4.0 International (CC BY-ND 4.0)", f"https://{_CC}/by-nd/4.0/"),
    "cc-by-sa": ("Attribution-ShareAlike 4.0 International (CC BY-SA 4.0)", f"https://{_CC}/by-sa/4.0/"),
    "cc-by-nc-sa": (
        "Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)",
        f"https://{_CC}/by-nc-sa/4.0/",
    ),
    "ogl": (
        "Open Government Licence",
        "http://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
    ),
    "opl": (
        "Open Parliament Licence",
        "https://www.parliament.uk/site-information/copyright-parliament/open-parliament-licence/",
    ),
    "inc": ("In copyright", "http://rightsstatements.org/vocab/InC/1.0/"),
}


def words_of(source: Mapping[str, Value]) -> dict[str, Value]:
    """
    What of a work is searched as words, by field; lists that are empty are there, what is no text is left out.

    *source* is ``{id, data, version}``. Plain texts such as the title are not in it: they are moved, not derived.
    """
    identity, data = _part(source, "id"), _part(source, "data")
    items = _parts(data, "items")
    return {
        "contributors": _unique(_label(_part(c, "agent")) for c in _parts(data, "contributors")),
        "genres": _unique(_label(c) for g in _parts(data, "genres") for c in _parts(g, "concepts")),
        "subjects": _unique(_label(c) for s in _parts(data, "subjects") for c in _parts(s, "concepts")),
        "languages": _texts(language.get("label") for language in _parts(data, "languages")),
        "notes": _texts(note.get("contents") for note in _parts(data, "notes")),
        "production": _texts(
            concept.get("label")
            for event in _parts(data, "production")
            for kind in ("places", "agents", "dates")
            for concept in _parts(event, kind)
        ),
        "production_dates": list(_dates(data)),
        "identifiers": _texts([identity.get("canonicalId"), *_identifiers(identity), *_others(data)]),
        "source_identifier": _part(identity, "sourceIdentifier").get("value"),
        "part_of": [],
        "items": {
            "id": _ids(_part(item, "id") for item in items),
            "identifiers": [value for item in items for value in _identifiers(_part(item, "id"))],
            "shelfmarks": _texts(place.get("shelfmark") for item in items for place in _parts(item, "locations")),
        },
        "images": {
            "id": _ids(_part(image, "id") for image in _parts(data, "imageData")),
            "identifiers": [v for image in _parts(data, "imageData") for v in _identifiers(_part(image, "id"))],
        },
    }


def facets_of(source: Mapping[str, Value]) -> dict[str, list[dict[str, str]]]:
    """Buckets of a work, ``{id, label}`` each, by facet; where there is no id the label stands for it."""
    agents, genres, subjects = _concepts(source)
    return {
        "contributors": _buckets(agents),
        "genres": _buckets(genres),
        "subjects": _buckets(subjects),
    }


def filters_of(source: Mapping[str, Value]) -> dict[str, dict[str, list[str]]]:
    """What a work is filtered by: labels, ids and source identifiers of its contributors, genres and subjects."""
    names = ("contributors", "genres", "subjects")
    return {
        name: {
            "labels": _unique(_label(concept) for concept in concepts),
            "ids": _ids(_part(concept, "id") for concept in concepts),
            "identifiers": [value for concept in concepts for value in _identifiers(_part(concept, "id"))],
        }
        for name, concepts in zip(names, _concepts(source), strict=True)
    }


def display_of(source: Mapping[str, Value]) -> dict[str, Value]:
    """A work as the images API shows it inside its images, without id and title."""
    data = _part(source, "data")
    return {
        "contributors": [
            {
                "agent": _shown(_part(contributor, "agent")),
                "roles": [
                    {"label": role.get("label"), "type": "ContributionRole"} for role in _parts(contributor, "roles")
                ],
                "primary": contributor.get("primary") is True,
                "type": "Contributor",
            }
            for contributor in _parts(data, "contributors")
        ],
        "subjects": [
            {**_shown(s), "concepts": [_shown(c) for c in _parts(s, "concepts")], "type": "Subject"}
            for s in _parts(data, "subjects")
        ],
        "genres": [
            {"label": g.get("label"), "concepts": [_shown(c) for c in _parts(g, "concepts")], "type": "Genre"}
            for g in _parts(data, "genres")
        ],
        "languages": [
            {"id": language.get("id"), "label": language.get("label"), "type": "Language"}
            for language in _parts(data, "languages")
        ],
        "type": "Work",
    }


def location_of(raw: Mapping[str, Value]) -> dict[str, Value]:
    """A location as the images API shows it; what it does not say is left out."""
    place, licence = _part(raw, "locationType").get("id"), _part(raw, "license").get("id")
    shown: dict[str, Value] = {
        "locationType": {"id": place, "label": _PLACES.get(str(place), place), "type": "LocationType"},
        "url": raw.get("url"),
        "credit": raw.get("credit"),
        "linkText": raw.get("linkText"),
        "license": licence_of(licence) if isinstance(licence, str) else None,
        "accessConditions": [_condition(condition) for condition in _parts(raw, "accessConditions")],
        "type": "DigitalLocation",
    }
    return {name: value for name, value in shown.items() if value is not None}


def licence_of(identifier: str) -> dict[str, str]:
    """A licence as the images API shows it; one that it does not know has its id for a label and no address."""
    label, url = _LICENCES.get(identifier, (identifier, ""))
    return {"id": identifier, "label": label, "type": "License"} | ({"url": url} if url else {})


def work_of_words(words: Mapping[str, Value], *, identifier: str) -> dict[str, Value]:
    """A raw work made of plain lists of labels, for works that came from a table or a folder."""
    data: dict[str, Value] = {
        "contributors": [{"agent": {"label": label, "type": "Agent"}} for label in _texts(words.get("contributors"))],
        "subjects": [{"label": x, "concepts": [{"label": x}]} for x in _texts(words.get("subjects"))],
        "genres": [{"label": x, "concepts": [{"label": x, "type": "Genre"}]} for x in _texts(words.get("genres"))],
        "languages": [{"id": label, "label": label} for label in _texts(words.get("languages"))],
        "notes": [{"contents": note} for note in _texts(words.get("notes"))],
        "production": [{"dates": [{"label": label} for label in _texts(words.get("production"))]}],
    }
    return {"id": {"canonicalId": identifier}, "data": data}


def _condition(raw: Mapping[str, Value]) -> dict[str, Value]:
    """One access condition; the raw form names method and status by type."""
    shown: dict[str, Value] = {"type": "AccessCondition"}
    for part, labels, kind in (("method", _METHODS, "AccessMethod"), ("status", _STATUSES, "AccessStatus")):
        name = _part(raw, part).get("type")
        if isinstance(name, str):
            label = labels.get(name, name)
            shown[part] = {"id": label.lower().replace(" ", "-"), "label": label, "type": kind}
    return shown | {name: raw[name] for name in ("terms", "note") if raw.get(name) is not None}


def _concepts(source: Mapping[str, Value]) -> tuple[list[dict[str, Value]], ...]:
    """Agents, genres (the first concept of each: the others tell place and time) and subjects of a work."""
    data = _part(source, "data")
    agents = [_part(contributor, "agent") for contributor in _parts(data, "contributors")]
    genres = [concept for genre in _parts(data, "genres") for concept in _parts(genre, "concepts")[:1]]
    return agents, genres, _parts(data, "subjects")


def _shown(concept: Mapping[str, Value]) -> dict[str, Value]:
    identifier = _part(concept, "id").get("canonicalId")
    kind = concept.get("type", "Concept")
    shown = {"label": concept.get("label"), "type": "Genre" if kind == "GenreConcept" else kind}
    return {"id": identifier, **shown} if identifier is not None else shown


def _buckets(concepts: Iterable[Mapping[str, Value]]) -> list[dict[str, str]]:
    """``{id, label}`` of each concept that has a label, once."""
    found = {}
    for concept in concepts:
        label = _label(concept)
        if label is not None:
            found[str(_part(concept, "id").get("canonicalId") or label)] = label
    return [{"id": identifier, "label": label} for identifier, label in found.items()]


def _dates(data: Mapping[str, Value]) -> Iterator[int]:
    """The beginnings of a work's dates; one that cannot be read stays in the raw work only."""
    for event in _parts(data, "production"):
        for date in _parts(event, "dates"):
            start = _part(date, "range").get("from")
            try:
                yield milliseconds(str(start))
            except ValueError:
                continue


def _identifiers(identity: Mapping[str, Value]) -> list[str]:
    """The values of the source identifiers of an identity, its own first."""
    return _texts([_part(identity, "sourceIdentifier").get("value"), *_others(identity)])


def _others(holder: Mapping[str, Value]) -> list[str]:
    return _texts(other.get("value") for other in _parts(holder, "otherIdentifiers"))


def _ids(identities: Iterable[Mapping[str, Value]]) -> list[str]:
    return _texts(identity.get("canonicalId") for identity in identities)


def _label(concept: Mapping[str, Value]) -> str | None:
    """The label without the full stop that some cataloguing rules put behind it."""
    label = concept.get("label")
    return label.removesuffix(".") if isinstance(label, str) else None


def _unique(labels: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(label for label in labels if label is not None))


def _texts(values: Value) -> list[str]:
    """Those of *values* that are text; one text counts as a list of it."""
    listed = [values] if isinstance(values, str) else [] if values is None else values
    return [value for value in listed if isinstance(value, str)]


def _part(holder: Mapping[str, Value], name: str) -> dict[str, Value]:
    """The object called *name*, an empty one where there is none."""
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _parts(holder: Mapping[str, Value], name: str) -> list[dict[str, Value]]:
    """The objects in the list called *name*."""
    value = holder.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
