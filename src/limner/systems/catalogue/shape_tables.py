"""Where each thing stands in the catalogue's documents, and where in our records' fields."""

from collections.abc import Mapping
from typing import TypeAlias

Place: TypeAlias = tuple[str, ...]
#: Where a thing stands in a document, and where in a record's fields.
Moves: TypeAlias = Mapping[Place, Place]

#: What a model said, by where it stands among a record's given values; named like the outputs of the stages.
FEATURES = ("features", "vector")
PALETTE = ("palette", "vector")
COLOUR = ("palette", "average_color_hex")
RATIO = ("aspect_ratio", "value")

IN_AUGMENTED: Moves = {
    ("state", "inferredData", "features"): FEATURES,
    ("state", "inferredData", "paletteEmbedding"): PALETTE,
    ("state", "inferredData", "averageColorHex"): COLOUR,
    ("state", "inferredData", "aspectRatio"): RATIO,
}
AUGMENTED_IMAGE: Moves = {
    ("state", "sourceIdentifier"): ("source_identifier",),
    ("state", "augmentedTime"): ("augmented_time",),
    ("locations",): ("locations",),
    ("version",): ("version",),
    ("modifiedTime",): ("modifiedTime",),
}
TEXTS = {
    "title": "title",
    "description": "description",
    "alternativeTitles": "alternative_titles",
    "referenceNumber": "reference_number",
    "physicalDescription": "physical_description",
    "lettering": "lettering",
    "edition": "edition",
}
RAW_WORK: Moves = {("data", name): (field,) for name, field in TEXTS.items()}

IN_INDEXED: Moves = {
    ("vectorValues", "features"): FEATURES,
    ("vectorValues", "paletteEmbedding"): PALETTE,
    ("display", "averageColor"): COLOUR,
    ("display", "aspectRatio"): RATIO,
}
INDEXED_IMAGE: Moves = {
    ("modifiedTime",): ("modifiedTime",),
    ("aggregatableValues", "locations.license"): ("facets", "licences"),
    ("filterableValues", "locations.license.id"): ("licences",),
    ("debug",): ("debug",),
    ("display",): ("display",),
}
_KINDS = {"contributors": "contributors.agent", "genres": "genres", "subjects": "subjects"}
_FILTERED = {"contributors": "contributors.agent", "genres": "genres.concepts", "subjects": "subjects.concepts"}
INDEXED_WORK: Moves = {
    **{("query", "source", name): (field,) for name, field in TEXTS.items()},
    ("query", "source", "contributors.agent.label"): ("contributors",),
    ("query", "source", "genres.concepts.label"): ("genres",),
    ("query", "source", "subjects.concepts.label"): ("subjects",),
    ("query", "source", "languages.label"): ("languages",),
    ("query", "source", "notes.contents"): ("notes",),
    ("query", "source", "production.label"): ("production",),
    ("query", "source", "identifiers.value"): ("identifiers",),
    ("query", "source", "sourceIdentifier.value"): ("source_identifier",),
    ("query", "source", "partOf.title"): ("part_of",),
    ("query", "source", "items.id"): ("items", "id"),
    ("query", "source", "items.identifiers.value"): ("items", "identifiers"),
    ("query", "source", "items.shelfmark.value"): ("items", "shelfmarks"),
    ("query", "source", "images.id"): ("images", "id"),
    ("query", "source", "images.identifiers.value"): ("images", "identifiers"),
    **{("query", "source", f"collectionPath.{name}"): ("collection_path", name) for name in ("label", "path", "sort")},
    **{("aggregatableValues", f"source.{name}"): ("facets", field) for field, name in _KINDS.items()},
    ("filterableValues", "source.contributors.agent.label"): ("filters", "contributors", "labels"),
    ("filterableValues", "source.genres.label"): ("filters", "genres", "labels"),
    ("filterableValues", "source.subjects.label"): ("filters", "subjects", "labels"),
    **{("filterableValues", f"source.{name}.id"): ("filters", field, "ids") for field, name in _FILTERED.items()},
    **{
        ("filterableValues", f"source.{name}.sourceIdentifier"): ("filters", field, "identifiers")
        for field, name in _FILTERED.items()
    },
    ("filterableValues", "source.production.dates.range.from"): ("production_dates",),
}
#: Places of single values; all others of a work hold lists, which are there even if they are empty.
SINGLE = {*TEXTS.values(), "source_identifier", "collection_path"} - {"alternative_titles"}
