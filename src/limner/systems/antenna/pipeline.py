"""The pipeline `antenna`: insects found on trap photographs, sorted, described, and followed from frame to frame."""

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
from limner.domain.failures import FailureCode

_HOME = "limner.systems.antenna"
_BYTES = 100_000_000

# Boxes are in stored pixels, so pictures are handed over as they are stored.
_picture = file("image_url", upright=False, max_bytes=_BYTES, absent="no_picture")
_its_picture = file("parent.image_url", upright=False, max_bytes=_BYTES, absent="no_picture")

# A detector that is told the boxes has nothing to do.
_GIVEN = "boxes were given"

# Attempts in all: a fault of the transfer is tried once more, what may pass three times, what is wrong never.
_retry = RetryPolicy(
    attempts={
        FailureCode.SOURCE_TIMEOUT: 3,
        FailureCode.SOURCE_UNAVAILABLE: 3,
        FailureCode.SOURCE_TRUNCATED: 2,
        FailureCode.MODEL_UNAVAILABLE: 3,
        FailureCode.OUT_OF_MEMORY: 2,
        FailureCode.STAGE_TIMEOUT: 3,
        FailureCode.WORKER_LOST: 3,
    }
)

_header = Stage(
    "header",
    infer=f"{_HOME}.header:Header",
    reads={"image": _picture},
    outputs={
        "width": Number(whole=True, least=1),
        "height": Number(whole=True, least=1),
        "orientation": Number(whole=True, optional=True),
        "taken_at": Text(optional=True),
    },
    required=False,
    retry=_retry,
    batch=16,
    timeout=timedelta(seconds=30),
    # No client asks for it, so nobody starts a worker for it.
    light=True,
)

_detect = Stage(
    "detect",
    kind="expand",
    of="detections",
    identity=["box"],
    reads={"image": _picture},
    when=where("detections", "exists", False, reason=_GIVEN),
    implementations={
        "blobs": Implementation(infer=f"{_HOME}.blobs:Blobs"),
        "onnx-detector": Implementation(infer=f"{_HOME}.onnx_detector:OnnxDetector", model="detector@champion"),
        "given": Implementation(
            infer=f"{_HOME}.given_boxes:GivenBoxes",
            reads={"boxes": "detections", "image": _picture},
            when=(where("detections", "exists", reason="no boxes were given"),),
            light=True,
        ),
    },
    retry=_retry,
    batch=8,
    task_size=32,
    timeout=timedelta(minutes=2),
)

_crop = Stage(
    "crop",
    over="detections",
    reads={"image": _its_picture, "box": "box"},
    outputs={"crop": Artifact(kind="image/jpeg")},
    implementations={"crop": Implementation(infer=f"{_HOME}.crop:Crop")},
    retry=_retry,
    batch=64,
)

_classify = Stage(
    "classify",
    over="detections",
    reads={"image": _its_picture, "box": "box"},
    outputs={"labels": Anything(), "full": Artifact(optional=True)},
    implementations={
        "size-shape": Implementation(infer=f"{_HOME}.size_shape:SizeShape"),
        "onnx-classifier": Implementation(infer=f"{_HOME}.onnx_classifier:OnnxClassifier", model="classifier@champion"),
    },
    retry=_retry,
    batch=20,
    task_size=128,
    timeout=timedelta(minutes=2),
)

_features = Stage(
    "features",
    over="detections",
    reads={"image": _its_picture, "box": "box"},
    outputs={"vector": Vector(), "dim": Number(whole=True, least=1), "file": Artifact(optional=True)},
    implementations={
        "colour-histogram": Implementation(infer=f"{_HOME}.colour_histogram:ColourHistogram"),
        "onnx-features": Implementation(infer=f"{_HOME}.onnx_features:OnnxFeatures", model="features@champion"),
    },
    retry=_retry,
    batch=20,
    task_size=128,
    timeout=timedelta(minutes=2),
)

_condition = Stage(
    "condition",
    over="detections",
    gate=True,
    reads={"labels": "classify.labels"},
    implementations={
        "not-debris": Implementation(infer=f"{_HOME}.label_rule:LabelRule", params={"refuse": ["debris"]}),
        "large-only": Implementation(infer=f"{_HOME}.label_rule:LabelRule", params={"accept": ["large"]}),
    },
    retry=_retry,
    batch=500,
    isolation="thread",
    light=True,
)

_frame = Stage(
    "frame",
    infer=f"{_HOME}.frame:Frame",
    kind="gather",
    of="detections",
    by="parent",
    reads={"ids": "record.id", "boxes": "box", "vectors": optional("features.vector")},
    outputs={"detections": Anything()},
    required=False,
    retry=_retry,
    batch=100,
    isolation="thread",
    light=True,
)

_track = Stage(
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
    implementations={"tracker": Implementation(infer=f"{_HOME}.event:EventTracker")},
    required=False,
    retry=_retry,
    batch=4,
    timeout=timedelta(minutes=5),
)

#: Nothing is computed before a job asks for it.
pipeline = Pipeline(
    "antenna",
    collection="captures",
    stages=[_header, _detect, _crop, _classify, _features, _condition, _frame, _track],
    standing=False,
    about="Insects on pictures of trap cameras: boxes, crops, labels, features and tracks, each with its version.",
)
