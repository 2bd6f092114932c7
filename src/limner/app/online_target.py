"""One version of one stage, as the online door serves it."""

from msgspec import Struct

from limner.domain.pipelines import EXTERNAL, Pipeline, Stage
from limner.domain.tasks import Runtime
from limner.domain.versions import Version


class Target(Struct, frozen=True, kw_only=True):
    """One version of one stage."""

    pipeline: Pipeline
    stage: Stage
    implementation: str
    version: Version
    runtime: Runtime

    @property
    def address(self) -> str:
        """``pipeline.stage``, as it is asked for."""
        return f"{self.pipeline.name}.{self.stage.name}"

    @property
    def servable(self) -> bool:
        """Whether it can be served beside the server; what only outside workers hold gets a job."""
        return self.runtime.infer != EXTERNAL
