"""The catalogue system: what can be inferred from a library's pictures, searchable beside its text."""

from limner.domain.reads import FileRead
from limner.domain.systems import System, Trainer
from limner.systems.catalogue.pipeline import pipeline as declared

_HOME = "limner.systems.catalogue"

system = System(
    name="catalogue",
    about="Pictures of a library's catalogue: their colours, features and ratios, searchable beside its text.",
    pipelines=(declared,),
    shapes={name: f"{_HOME}.shapes:{name.upper()}" for name in ("initial", "augmented", "indexed")},
    resolvers={"iiif": f"{_HOME}.iiif:resolve"},
    trainers={
        "catalogue.codes": Trainer(
            model="codes",
            trainer=f"{_HOME}.codes_trainer:CodesTrainer",
            pipeline="catalogue",
            samples="features.vector",
            gate=f"{_HOME}.codes_trainer:gate",
        ),
        "catalogue.features": Trainer(
            model="features",
            trainer=f"{_HOME}.features_trainer:FeaturesTrainer",
            pipeline="catalogue",
            samples="image_url",
            read=FileRead(at_least=224, resolver="iiif"),
        ),
    },
    models={"features": f"{_HOME}:data/features.onnx"},
    demo=f"{_HOME}.demo:demo",
    template=f"{_HOME}:template",
    routes=f"{_HOME}.routes:routes",
)
