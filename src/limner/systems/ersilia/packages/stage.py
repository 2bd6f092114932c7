"""What the stage `predict` declares for a package: its implementation, and the outputs that all packages share."""

from collections.abc import Mapping

from limner.domain.outputs import AnyOutput, Anything, Artifact, Number
from limner.domain.pipelines import Implementation
from limner.domain.values import Value
from limner.systems.ersilia.packages.base import Package

_INFERRER = "limner.systems.ersilia.packages.inferrer:PackageInferrer"
_SERVED = "limner.systems.ersilia.packages.served:ServedPackage"
#: A narrow model answers with `values`; a wide one with a Parquet file of its call, and its row there.
PREDICT_OUTPUTS: Mapping[str, AnyOutput] = {
    "values": Anything(optional=True),
    "file": Artifact(kind="application/vnd.apache.parquet", optional=True, shared=True),
    "row": Number(whole=True, least=0, optional=True),
}


def implementation_of(package: Package) -> Implementation:
    """The champion of *package*'s model, with the batch and limit that its figures ask for."""
    params: dict[str, Value] = {"python": package.needs.python, "pins": dict(sorted(package.needs.pins.items()))}
    return Implementation(
        infer=_SERVED if package.served else _INFERRER,
        model=f"{package.id}@champion",
        params={"url": package.served} if package.served else params,
        batch=package.performance.batch,
        timeout=package.performance.limit,
    )
