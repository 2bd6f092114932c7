"""The search mapping: what of a collection is searched, and how, derived from a pipeline's declarations."""

from collections.abc import Mapping as Dictionary
from enum import StrEnum

from msgspec import Struct, field

from limner.domain.outputs import AnyOutput, Flag, Number, Strings, Text, Vector
from limner.domain.pipelines import Pipeline, Stage, StageKind
from limner.errors import ConfigurationError


class FilterKind(StrEnum):
    """What the values of a filter are."""

    WORD = "word"
    NUMBER = "number"
    FLAG = "flag"
    #: A record's own field, which nothing declares: each value compares with values of its own kind.
    ANY = "any"


class Mapping(Struct, frozen=True, kw_only=True):
    """What of the documents is searched; paths are ``field``, ``parent.field``, ``stage.field``."""

    #: Paths searched as words, with their weights.
    text: Dictionary[str, float] = field(default_factory=dict)
    #: Paths compared whole; a document may have several values at one.
    filters: Dictionary[str, FilterKind] = field(default_factory=dict)
    #: Paths compared by likeness, with the numbers in each vector; None takes the length of the first.
    vectors: Dictionary[str, int | None] = field(default_factory=dict)


def mapping_of(pipeline: Pipeline, *, collection: str | None = None) -> Mapping:
    """
    What of *collection* (the pipeline's own if None) is searched.

    Every number, flag, text, list of strings and vector that a stage declares is searched without being listed, so
    that one more inferrer is one more stage and nothing else. The pipeline's index adds, for its own collection,
    which paths are read as words, the records' own fields and the parents' values. What is read as words is compared
    whole as well only where the index lists it as a filter too.

    Raises:
        ConfigurationError: the index lists a path in a way that its output does not allow.
    """
    about = collection or pipeline.collection
    declared = _declared(pipeline, collection=about)
    filters = {path: kind for path, output in declared.items() if (kind := _filter_kind(output)) is not None}
    vectors = {path: output.length for path, output in declared.items() if isinstance(output, Vector)}
    if about != pipeline.collection:
        return Mapping(filters=filters, vectors=vectors)
    index = pipeline.index
    text = {path: _listed_text(pipeline, path=path, weight=weight) for path, weight in index.text.items()}
    filters = {path: kind for path, kind in filters.items() if path not in text}
    filters |= {path: _listed_filter(pipeline, path=path) for path in index.filters}
    vectors |= {path: _listed_vector(pipeline, path=path) for path in index.vectors}
    for name, encoder in index.encoders.items():
        if encoder.on not in vectors:
            known = ", ".join(vectors) or "there is none"
            raise ConfigurationError(
                f"Pipeline {pipeline.name}: queries by {name} compare with {encoder.on}, which is no vector ({known})."
            )
    return Mapping(text=text, filters=filters, vectors=vectors)


def _declared(pipeline: Pipeline, *, collection: str) -> dict[str, AnyOutput]:
    """The outputs that stages declare about records of *collection*, by path, and those its records are made of."""
    found: dict[str, AnyOutput] = {}
    for stage in pipeline.stages:
        expands = stage.kind is StageKind.EXPAND
        if expands and stage.of == collection:
            found |= stage.outputs
        elif not expands and pipeline.over(stage) == collection:
            found |= {f"{stage.name}.{name}": output for name, output in stage.outputs.items()}
    return found


def _filter_kind(output: AnyOutput) -> FilterKind | None:
    """How values of *output* are compared whole; None where they are not."""
    match output:
        case Number():
            return FilterKind.NUMBER
        case Text() | Strings():
            return FilterKind.WORD
        case Flag():
            return FilterKind.FLAG
        case _:
            return None


def _listed_text(pipeline: Pipeline, *, path: str, weight: float) -> float:
    """The weight of a path that the index lists as text."""
    output = _output_at(pipeline, path=path)
    if output is not None and not isinstance(output, Text | Strings):
        raise _wrong(pipeline, path=path, listed="text", output=output)
    if not weight > 0:
        raise ConfigurationError(f"Pipeline {pipeline.name}: the weight of {path} is {weight}; use one above 0.")
    return float(weight)


def _listed_filter(pipeline: Pipeline, *, path: str) -> FilterKind:
    """The kind of a path that the index lists as a filter."""
    output = _output_at(pipeline, path=path)
    if output is None:
        return FilterKind.ANY
    kind = _filter_kind(output)
    if kind is None:
        raise _wrong(pipeline, path=path, listed="a filter", output=output)
    return kind


def _listed_vector(pipeline: Pipeline, *, path: str) -> int | None:
    """The length of a path that the index lists as a vector."""
    output = _output_at(pipeline, path=path)
    if output is None:
        return None
    if not isinstance(output, Vector):
        raise _wrong(pipeline, path=path, listed="a vector", output=output)
    return output.length


def _output_at(pipeline: Pipeline, *, path: str) -> AnyOutput | None:
    """The declared output at *path*; None for a record's field and for a stage that declares no outputs."""
    name, _, rest = path.removeprefix("parent.").partition(".")
    stage = next((stage for stage in pipeline.stages if stage.name == name), None)
    if stage is None or not stage.outputs:
        return None
    output = stage.outputs.get(rest)
    if output is None:
        raise ConfigurationError(
            f"Pipeline {pipeline.name}: the index lists {path}, but {_has(stage)}; list one of these."
        )
    return output


def _has(stage: Stage) -> str:
    return f"stage {stage.name} declares {', '.join(stage.outputs)}"


def _wrong(pipeline: Pipeline, *, path: str, listed: str, output: AnyOutput) -> ConfigurationError:
    return ConfigurationError(
        f"Pipeline {pipeline.name}: the index lists {path} as {listed}, but it is declared as {type(output).__name__}."
    )
