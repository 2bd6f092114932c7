"""The pipeline `molecules`: identified by RDKit, and predicted by one implementation for each model package."""

from datetime import timedelta
from pathlib import Path

from limner import Implementation, Number, Pipeline, Stage, Text, where
from limner.domain.pipelines import Pipeline as DeclaredPipeline
from limner.systems.ersilia.packages.reading import HUB, find_packages
from limner.systems.ersilia.packages.stage import PREDICT_OUTPUTS, implementation_of
from limner.systems.ersilia.precalc.shards import BATCH

#: Its name, that of its collection, and those of its stages.
NAME = "molecules"
IDENTIFY, PREDICT = "identify", "predict"
#: Below a project's folder: its own packages.
OWN = "packages"


def pipeline_of(project: Path) -> DeclaredPipeline:
    """The pipeline with the packages in the folder `packages` of a project."""
    return molecules_pipeline(project / OWN)


def molecules_pipeline(*folders: Path | str) -> DeclaredPipeline:
    """
    The pipeline with the packages that ship with Limner, and with those in *folders*, each in a folder of its own.

    Raises:
        UsageError: one of the packages is wrong.
    """
    packages = find_packages(HUB, *map(Path, folders))
    return Pipeline(
        NAME,
        collection=NAME,
        about="What packaged models predict of molecules, for whole libraries, and looked up by key.",
        # Only what jobs ask for: 240 models over a million molecules are not wanted just because they are there.
        standing=False,
        stages=[
            Stage(
                IDENTIFY,
                implementations={"rdkit": Implementation(infer="limner.systems.ersilia.identify:Identify")},
                reads={"smiles": "smiles"},
                outputs={
                    "canonical": Text(),
                    # InChI knows no key for wildcard atoms.
                    "inchikey": Text(pattern="[A-Z]{14}-[A-Z]{10}-[A-Z]", optional=True),
                    "heavy_atoms": Number(least=0, whole=True),
                },
                batch=1_000,
                timeout=timedelta(minutes=2),
                # Far workers are started for a model: what every model needs is done where the library is.
                light=True,
            ),
            Stage(
                PREDICT,
                implementations={name: implementation_of(package) for name, package in packages.items()},
                reads={"smiles": "smiles"},
                # What RDKit cannot parse is nothing for a model either.
                when=where("identify.heavy_atoms", ">=", 0, reason="not_identified"),
                outputs=PREDICT_OUTPUTS,
                batch=BATCH,
                task_size=BATCH,
            ),
        ],
    )
