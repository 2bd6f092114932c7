"""The antenna system: pictures of insect-trap cameras through several models, asked for and answered asynchronously."""

from limner.domain.systems import System
from limner.systems.antenna.pipeline import pipeline as declared

_HOME = "limner.systems.antenna"

system = System(
    name="antenna",
    about="Insects on pictures of trap cameras: found, classified and followed, through models of several teams.",
    pipelines=(declared,),
    stage_names={
        "OBJECT_DETECTION": "antenna.detect",
        "IMAGE_CROP": "antenna.crop",
        "CLASSIFICATION": "antenna.classify",
        "CNN_FEATURE_CLASSIFIER": "antenna.features",
        "CONDITIONAL_STAGE_SELECTOR": "antenna.condition",
        "TRACKING": "antenna.track",
    },
    callbacks={"antenna": f"{_HOME}.callback:body"},
    demo=f"{_HOME}.demo:demo",
    template=f"{_HOME}:template",
    routes=f"{_HOME}.facade:routes",
    more_routes={"antenna-v2": f"{_HOME}.pull_v2:routes"},
)
