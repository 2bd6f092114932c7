"""What is inferred about your pictures and how it is searched. Edit it; `limner plan catalogue` says what follows."""

from datetime import timedelta

from limner import Bytes, Index, Number, Pipeline, QueryEncoder, Stage, Strings, Text, Vector, file, optional

HEX_COLOUR = "#[0-9a-f]{6}"
# A JPEG is decoded no larger than needed. iiif: the address of an info.json becomes that of a picture.
PICTURE = file("image_url", at_least=224, resolver="iiif", absent="no_picture")
HEADER = file("image_url", resolver="iiif", absent="no_picture")

palette = Stage(
    "palette",
    infer="limner.systems.catalogue.palette:Palette",
    params={"bins": 10, "noise_std": 30.0, "sizes": [100, 50]},
    reads={"image": PICTURE},
    outputs={"vector": Vector(length=1000, unit=True), "average_color_hex": Text(pattern=HEX_COLOUR)},
    batch=16,
    timeout=timedelta(seconds=30),
)
features = Stage(
    "features",
    infer="onnx",
    model="features@champion",
    reads={"image": PICTURE},
    outputs={"vector": Vector(unit=True)},
    batch=16,
    timeout=timedelta(seconds=30),
)
aspect_ratio = Stage(
    "aspect_ratio",
    infer="limner.systems.catalogue.aspect_ratio:AspectRatio",
    reads={"image": HEADER},
    outputs={
        "value": Number(above=0),
        "width": Number(least=1, whole=True, optional=True),
        "height": Number(least=1, whole=True, optional=True),
    },
    batch=64,
    timeout=timedelta(seconds=5),
)
codes = Stage(
    "codes",
    infer="limner.systems.catalogue.codes:Codes",
    model="codes@champion",
    reads={"vector": "features.vector"},
    outputs={"tokens": Strings(), "code": Bytes()},
    required=False,
    batch=512,
    timeout=timedelta(seconds=5),
)
work_summary = Stage(
    "work_summary",
    infer="limner.systems.catalogue.summary:WorkSummary",
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
        "average_color_hex": Text(pattern=HEX_COLOUR, optional=True),
        "images": Number(least=1, whole=True),
        "missing": Number(least=0, whole=True),
    },
    required=False,
    batch=256,
    timeout=timedelta(seconds=5),
)

# Fields that are searched as words, of the image itself and of its work, and how much each counts.
WORDS = {
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
    stages=[palette, features, aspect_ratio, codes, work_summary],
    # Every number, word and vector that a stage declares is searched without being listed here.
    index=Index(
        text={**WORDS, **{f"parent.{field}": weight for field, weight in WORDS.items()}},
        filters=[
            "licence",
            "parent.contributors",
            "parent.genres",
            "parent.subjects",
            "parent.languages",
            "parent.production_dates",
        ],
        # The first is what `--similar` and `--file` compare where no `--on` names another.
        vectors=["features.vector", "palette.vector"],
        encoders={"colour": QueryEncoder(on="palette.vector", encode="limner.systems.catalogue.palette:colour")},
    ),
)
