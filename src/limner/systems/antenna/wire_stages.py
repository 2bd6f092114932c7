"""Which steps a request asks for: wire names, aliases, and the choices that the engine is given."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from limner.api.problems import FieldError
from limner.domain.pipelines import Pipeline
from limner.systems.antenna.wire import StageAsk, refused

#: The pipeline's stages by the names that clients know them by.
STAGES: Mapping[str, str] = {
    "OBJECT_DETECTION": "detect",
    "IMAGE_CROP": "crop",
    "CLASSIFICATION": "classify",
    "CNN_FEATURE_CLASSIFIER": "features",
    "CONDITIONAL_STAGE_SELECTOR": "condition",
    "TRACKING": "track",
}
WIRE_NAMES: Mapping[str, str] = {stage: name for name, stage in STAGES.items()}
#: The detector that takes boxes as they were given.
GIVEN = "given"
#: Stages that no client names: they come with others.
HEADER, FRAME = "header", "frame"
INTERNAL = frozenset({HEADER, FRAME})
_NEEDS = {
    "crop": ("detect",),
    "classify": ("detect",),
    "features": ("detect",),
    "condition": ("detect", "classify"),
    "track": ("detect",),
}


class Step(Struct, frozen=True, kw_only=True):
    """One step of a request."""

    #: As clients name it.
    stage: str
    #: What really runs.
    implementation: str
    #: The name that was asked for.
    asked: str


def steps_of(
    asks: Sequence[StageAsk], pipeline: Pipeline, *, aliases: Mapping[str, str], boxes_given: bool = False
) -> list[Step]:
    """
    The steps that are asked for, each with what really runs.

    *boxes_given*: every picture comes with its boxes, so that nothing needs to be detected.

    Raises:
        Refused: a stage or an implementation is unknown (the answer names those known), stands there twice, or needs
            what no earlier one gives.
    """
    steps: list[Step] = []
    before = {"detect"} if boxes_given else set()
    for at, ask in enumerate(asks):
        stage = _stage(ask.stage, at=at)
        way = _implementation(ask, stage, pipeline, aliases, at=at)
        step = Step(stage=ask.stage, implementation=way, asked=ask.implementation)
        for needed in _NEEDS.get(stage, ()):
            if needed not in before:
                told = f"{ask.stage} needs what {WIRE_NAMES[needed]} gives; list that before it."
                raise refused(FieldError(field=f"pipelineConfig.stages[{at}].stage", message=told))
        if any((one.stage, one.implementation) == (step.stage, step.implementation) for one in steps):
            told = f"{step.stage} by {step.implementation} stands there twice; list another implementation."
            raise refused(FieldError(field=f"pipelineConfig.stages[{at}].stageImplementation", message=told))
        steps.append(step)
        before.add(stage)
    return steps


def choices_of(steps: Sequence[Step], pipeline: Pipeline, *, given: bool) -> dict[str, list[str]]:
    """
    What the engine is given: every stage of the pipeline in the order of *steps*, those that are not asked for empty.

    *given*: some pictures come with boxes of their own. A stage that is listed again is ``classify#2``. Features that
    tracks are made of are never behind a condition.
    """
    found = _internal(pipeline, HEADER)
    detectors = [step.implementation for step in steps if step.stage == "OBJECT_DETECTION"]
    found["detect"] = list(dict.fromkeys([*([GIVEN] if given else []), *detectors]))
    rest = [step for step in steps if STAGES[step.stage] != "detect"]
    if any(step.stage == "TRACKING" for step in rest):
        rest.sort(key=lambda step: step.stage != "CNN_FEATURE_CLASSIFIER")
        found |= _listed([step for step in rest if step.stage != "TRACKING"])
        found |= _internal(pipeline, FRAME)
        found["track"] = [step.implementation for step in rest if step.stage == "TRACKING"]
    else:
        found |= _listed(rest)
    return found | {stage.name: [] for stage in pipeline.stages if stage.name not in found}


def _internal(pipeline: Pipeline, name: str) -> dict[str, list[str]]:
    """A stage that comes with others, by its default; nothing where a project's own pipeline leaves it out."""
    return {stage.name: [stage.default] for stage in pipeline.stages if stage.name == name}


def _listed(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Steps as they stand, each under a key of its own."""
    times: dict[str, int] = {}
    found: dict[str, list[str]] = {}
    for step in steps:
        stage = STAGES[step.stage]
        times[stage] = times.get(stage, 0) + 1
        found[stage if times[stage] == 1 else f"{stage}#{times[stage]}"] = [step.implementation]
    return found


def _stage(name: str, *, at: int) -> str:
    if name not in STAGES:
        told = f"UNKNOWN_STAGE: there is no stage {name!r}; known are: {', '.join(STAGES)}."
        raise refused(FieldError(field=f"pipelineConfig.stages[{at}].stage", message=told), code="UNKNOWN_STAGE")
    return STAGES[name]


def _implementation(ask: StageAsk, stage: str, pipeline: Pipeline, aliases: Mapping[str, str], *, at: int) -> str:
    """What really runs; an implementation that is there wins over an alias of its name."""
    known = {name for name in pipeline.stage(stage).implementations if name != GIVEN}
    for name in (ask.implementation, aliases.get(ask.implementation)):
        if name in known:
            return str(name)
    told = (
        f"UNKNOWN_IMPLEMENTATION: {ask.stage} cannot be done by {ask.implementation!r}; "
        f"known are: {', '.join(_known(known, aliases))}."
    )
    field = f"pipelineConfig.stages[{at}].stageImplementation"
    raise refused(FieldError(field=field, message=told), code="UNKNOWN_IMPLEMENTATION")


def _known(names: Collection[str], aliases: Mapping[str, str]) -> list[str]:
    """The implementations of a stage, and the aliases that lead to them."""
    return [*sorted(names), *sorted(alias for alias, name in aliases.items() if name in names and alias not in names)]
