"""The pipeline `catalogue`: what is inferred about images and their works, and how it is searched."""

from datetime import timedelta

from limner import (
    Bytes,
    Implementation,
    Index,
    Number,
    Pipeline,
    QueryEncoder,
    Stage,
    Strings,
    Text,
    Vector,
    file,
    optional,
)

_HOME = "limner.systems.catalogue"
_HEX = "#[0-9a-f]{6}"

# A JPEG is decoded no larger than is needed; the address of a IIIF description becomes that of a picture.
_picture = file("image_url", at_least=224, resolver="iiif", absent="no_picture")
# The ratio reads the header, whose size draft decoding would round.
_header = file("image_url", resolver="iiif", absent="no_picture")

_stages = [
    Stage(
        "palette",
        reads={"image": _picture},
        outputs={"vector": Vector(length=1000, unit=True), "average_color_hex": Text(pattern=_HEX)},
        implementations={
            "exact": Implementation(
                infer=f"{_HOME}.palette:Palette", params={"bins": 10, "noise_std": 30.0, "sizes": [100, 50]}
            ),
            "http": Implementation(
                infer="http", params={"url": "http://127.0.0.1:8000", "protocol": "v2", "model": "palette"}
            ),
            "given": Implementation(infer="given", params={"source": "the record"}, reads={"palette": "given.palette"}),
        },
        batch=16,
        timeout=timedelta(seconds=30),
    ),
    Stage(
        "features",
        reads={"image": _picture},
        outputs={"vector": Vector(unit=True)},
        implementations={
            "onnx": Implementation(infer="onnx", model="features@champion"),
            "http": Implementation(
                infer="http", params={"url": "http://127.0.0.1:8000", "protocol": "v2", "model": "features"}
            ),
            "given": Implementation(
                infer="given", params={"source": "the record"}, reads={"features": "given.features"}
            ),
        },
        batch=16,
        timeout=timedelta(seconds=30),
    ),
    Stage(
        "aspect_ratio",
        reads={"image": _header},
        outputs={
            "value": Number(above=0),
            "width": Number(least=1, whole=True, optional=True),
            "height": Number(least=1, whole=True, optional=True),
        },
        implementations={
            "header": Implementation(infer=f"{_HOME}.aspect_ratio:AspectRatio"),
            "http": Implementation(
                infer="http", params={"url": "http://127.0.0.1:8000", "protocol": "v2", "model": "aspect_ratio"}
            ),
            "given": Implementation(
                infer="given", params={"source": "the record"}, reads={"aspect_ratio": "given.aspect_ratio"}
            ),
        },
        batch=64,
        timeout=timedelta(seconds=5),
    ),
    Stage(
        "codes",
        reads={"vector": "features.vector"},
        outputs={"tokens": Strings(), "code": Bytes()},
        implementations={"pq": Implementation(infer=f"{_HOME}.codes:Codes", model="codes@champion")},
        required=False,
        batch=512,
        timeout=timedelta(seconds=5),
    ),
    Stage(
        "work_summary",
        kind="gather",
        over="works",
        of="images",
        by="parent",
        reads={
            "palette": optional("palette.vector"),
            "features": optional("features.vector"),
            "colour": optional("palette.average_color_hex"),
        },
        outputs={
            "palette": Vector(length=1000, unit=True, optional=True),
            "features": Vector(unit=True, optional=True),
            "average_color_hex": Text(pattern=_HEX, optional=True),
            "images": Number(least=1, whole=True),
            "missing": Number(least=0, whole=True),
        },
        implementations={"mean": Implementation(infer=f"{_HOME}.summary:WorkSummary")},
        required=False,
        batch=256,
        timeout=timedelta(seconds=5),
    ),
]

#: Words of an image's own, for images that have no work, and of the work that it belongs to.
_words = {
    "title": 500,
    "contributors": 100,
    "genres": 10,
    "subjects": 10,
    "production": 10,
    "description": 1,
    "edition": 1,
    "languages": 1,
    "lettering": 1,
    "notes": 1,
    "alternative_titles": 1,
    "physical_description": 1,
    "reference_number": 1,
    "identifiers": 1,
}

pipeline = Pipeline(
    "catalogue",
    collection="images",
    about="Colours, features, ratio and codes of every picture, and a summary of every work.",
    stages=_stages,
    index=Index(
        text={
            **_words,
            **{f"parent.{name}": weight for name, weight in _words.items()},
            "parent.collection_path.label": 1,
            "parent.collection_path.path": 1,
            "parent.items.id": 1,
            "parent.items.identifiers": 1,
            "parent.images.id": 1,
            "parent.images.identifiers": 1,
        },
        filters=[
            "licence",
            "licences",
            "parent.contributors",
            "parent.genres",
            "parent.subjects",
            "parent.languages",
            "parent.production_dates",
            "parent.filters.contributors.labels",
            "parent.filters.contributors.ids",
            "parent.filters.contributors.identifiers",
            "parent.filters.genres.labels",
            "parent.filters.genres.ids",
            "parent.filters.genres.identifiers",
            "parent.filters.subjects.labels",
            "parent.filters.subjects.ids",
            "parent.filters.subjects.identifiers",
        ],
        vectors=["features.vector", "palette.vector"],
        encoders={
            "colour": QueryEncoder(on="palette.vector", encode=f"{_HOME}.palette:colour"),
            "colour-compat": QueryEncoder(
                on="palette.vector", encode=f"{_HOME}.palette:colour", params={"mode": "compat"}
            ),
            "colour-matched": QueryEncoder(
                on="palette.vector", encode=f"{_HOME}.palette:colour", params={"mode": "matched"}
            ),
        },
    ),
)
