"""What is inferred about the traps' pictures, and by what. Edit it; `limner plan antenna` says what follows."""

from datetime import timedelta

from limner import (
    Anything,
    Artifact,
    Implementation,
    Number,
    Pipeline,
    RetryPolicy,
    Stage,
    Text,
    Vector,
    file,
    optional,
    where,
)

HOME = "limner.systems.antenna"

# A model service of the older kind (/info, /readyz, /process): name its address and one of its pipelines, and it is
# offered as `process-service`. Allow the address in limner.toml if it is not public.
SERVICE_URL = ""
SERVICE_PIPELINE = ""
# More of its parameters: release, token_env, config, timeout, cold_start.
SERVICE = {"url": SERVICE_URL, "pipeline": SERVICE_PIPELINE}

# Boxes are in stored pixels, so pictures are handed over as they are stored.
PICTURE = file("image_url", upright=False, max_bytes=100_000_000, absent="no_picture")
ITS_PICTURE = file("parent.image_url", upright=False, max_bytes=100_000_000, absent="no_picture")

detectors = {
    # No model: what differs from the board.
    "blobs": Implementation(infer=f"{HOME}.blobs:Blobs"),
    # Yours: `limner models add detector FILE.onnx --promote`.
    "onnx-detector": Implementation(infer=f"{HOME}.onnx_detector:OnnxDetector", model="detector@champion"),
    # Boxes that come with a request.
    "given": Implementation(
        infer=f"{HOME}.given_boxes:GivenBoxes",
        reads={"boxes": "detections", "image": PICTURE},
        when=(where("detections", "exists", reason="no boxes were given"),),
        light=True,
    ),
}
classifiers = {
    # No model: size and outline.
    "size-shape": Implementation(infer=f"{HOME}.size_shape:SizeShape"),
    "onnx-classifier": Implementation(infer=f"{HOME}.onnx_classifier:OnnxClassifier", model="classifier@champion"),
    # Your own, see inferrers/.
    "pale-dark": Implementation(infer="inferrers.pale_dark:PaleDark"),
}
if SERVICE_URL:
    detectors["process-service"] = Implementation(
        infer=f"{HOME}.process_service:ProcessService",
        params=SERVICE,
        # The address, not the bytes: the service fetches the picture itself.
        reads={"image_url": "image_url", "header": optional("header")},
    )
    classifiers["process-service"] = Implementation(
        infer=f"{HOME}.process_service:ProcessServiceClassifier",
        params=SERVICE,
        reads={"image_url": "parent.image_url", "box": "box"},
    )

# Attempts in all: a fault of the transfer is tried once more, what may pass three times, what is wrong never.
ATTEMPTS = {
    "SOURCE_TIMEOUT": 3,
    "SOURCE_UNAVAILABLE": 3,
    "SOURCE_TRUNCATED": 2,
    "MODEL_UNAVAILABLE": 3,
    "OUT_OF_MEMORY": 2,
    "STAGE_TIMEOUT": 3,
    "WORKER_LOST": 3,
}
retry = RetryPolicy(attempts=ATTEMPTS)
# A service that cannot be reached, or takes too long, is asked three times more.
patient = RetryPolicy(attempts={**ATTEMPTS, "MODEL_UNAVAILABLE": 4}, delay=timedelta(seconds=2))

header = Stage(
    "header",
    infer=f"{HOME}.header:Header",
    reads={"image": PICTURE},
    outputs={
        "width": Number(whole=True, least=1),
        "height": Number(whole=True, least=1),
        "orientation": Number(whole=True, optional=True),
        "taken_at": Text(optional=True),
    },
    required=False,
    batch=16,
    timeout=timedelta(seconds=30),
    retry=retry,
    # Done by the server itself, even where workers elsewhere do all the rest.
    light=True,
)
detect = Stage(
    "detect",
    kind="expand",
    of="detections",
    identity=["box"],
    reads={"image": PICTURE},
    when=where("detections", "exists", False, reason="boxes were given"),
    implementations=detectors,
    batch=8,
    task_size=32,
    timeout=timedelta(minutes=10 if SERVICE_URL else 2),
    retry=patient if SERVICE_URL else retry,
)
crop = Stage(
    "crop",
    over="detections",
    reads={"image": ITS_PICTURE, "box": "box"},
    outputs={"crop": Artifact(kind="image/jpeg")},
    implementations={"crop": Implementation(infer=f"{HOME}.crop:Crop")},
    batch=64,
    retry=retry,
)
classify = Stage(
    "classify",
    over="detections",
    reads={"image": ITS_PICTURE, "box": "box"},
    outputs={"labels": Anything(), "full": Artifact(optional=True)},
    implementations=classifiers,
    batch=20,
    task_size=128,
    timeout=timedelta(minutes=10 if SERVICE_URL else 2),
    retry=patient if SERVICE_URL else retry,
)
features = Stage(
    "features",
    over="detections",
    reads={"image": ITS_PICTURE, "box": "box"},
    outputs={"vector": Vector(), "dim": Number(whole=True, least=1), "file": Artifact(optional=True)},
    implementations={
        "colour-histogram": Implementation(infer=f"{HOME}.colour_histogram:ColourHistogram"),
        "onnx-features": Implementation(infer=f"{HOME}.onnx_features:OnnxFeatures", model="features@champion"),
    },
    batch=20,
    task_size=128,
    timeout=timedelta(minutes=2),
    retry=retry,
)
# What follows a rule in a request is for those detections only whose best label so far passes.
condition = Stage(
    "condition",
    over="detections",
    gate=True,
    reads={"labels": "classify.labels"},
    implementations={
        "not-debris": Implementation(infer=f"{HOME}.label_rule:LabelRule", params={"refuse": ["debris"]}),
        "large-only": Implementation(infer=f"{HOME}.label_rule:LabelRule", params={"accept": ["large"]}),
    },
    batch=500,
    isolation="thread",
    retry=retry,
    light=True,
)
frame = Stage(
    "frame",
    infer=f"{HOME}.frame:Frame",
    kind="gather",
    of="detections",
    by="parent",
    reads={"ids": "record.id", "boxes": "box", "vectors": optional("features.vector")},
    outputs={"detections": Anything()},
    required=False,
    batch=100,
    isolation="thread",
    retry=retry,
    light=True,
)
track = Stage(
    "track",
    kind="gather",
    over="events",
    of="captures",
    by="event",
    order="index",
    reads={
        "ids": "record.id",
        "urls": optional("image_url"),
        "taken": optional("taken_at"),
        "places": optional("index"),
        "headers": optional("header"),
        "frames": optional("frame.detections"),
        "counts": optional("detect.count"),
    },
    outputs={"tracks": Anything(), "missing_frames": Anything()},
    implementations={"tracker": Implementation(infer=f"{HOME}.event:EventTracker")},
    required=False,
    batch=4,
    timeout=timedelta(minutes=5),
    retry=retry,
)

# Nothing is computed before a request asks for it.
pipeline = Pipeline(
    "antenna",
    collection="captures",
    stages=[header, detect, crop, classify, features, condition, frame, track],
    standing=False,
    about="Insects on pictures of trap cameras: boxes, crops, labels, features and tracks, each with its version.",
)
