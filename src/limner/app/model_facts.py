"""What is known of a served stage before it is asked: version, inputs, outputs, and how its model prepares pictures."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from msgspec import Struct, field

from limner.app.online_target import Target
from limner.app.parts import Parts
from limner.domain.outputs import AnyOutput, Bytes, Flag, Number, Text, Vector
from limner.domain.tasks import ModelRef
from limner.domain.values import Value


class TensorFacts(Struct, frozen=True, kw_only=True):
    """An input or an output."""

    name: str
    datatype: str
    #: -1 is any number; the first axis is the records.
    shape: Sequence[int]
    parameters: Mapping[str, Value] = field(default_factory=dict)


class Metadata(Struct, frozen=True, kw_only=True):
    """A stage, as Open Inference Protocol v2 tells it, and what makes its results interchangeable."""

    name: str
    #: Every version that was ever registered, the newest first.
    versions: Sequence[str]
    platform: str
    inputs: Sequence[TensorFacts]
    outputs: Sequence[TensorFacts]
    #: Digest of the version that is served, and of its model's file.
    version: str
    model_digest: str | None
    #: Name and number of the model, licence, preprocessing, how its output is normalised.
    parameters: Mapping[str, Value]


def metadata_of(parts: Parts, target: Target, *, name: str) -> Metadata:
    """What is known of *target*, which was asked for as *name*."""
    with parts.store.reading() as tx:
        stored = tx.nodes.versions_of(target.pipeline.name, target.stage.name, target.implementation)
    model = target.version.model
    facts = {} if model is None else _of_model(parts, model)
    dims = facts.pop("dims", None)
    return Metadata(
        name=name,
        versions=[one.version.digest for one in stored] or [target.version.digest],
        platform=f"limner:{target.runtime.infer if ':' not in target.runtime.infer else 'python'}",
        inputs=[_input(each, is_file=read is not None) for each, read in target.runtime.reads.items()],
        outputs=[_output(each, output, dims=dims) for each, output in target.stage.outputs.items()],
        version=target.version.digest,
        model_digest=None if model is None else model.sha256,
        parameters={
            "code": target.version.code,
            "implementation": target.implementation,
            "params": target.version.params,
            **facts,
        },
    )


def _of_model(parts: Parts, model: ModelRef) -> dict[str, Value]:
    """What the model's entry and, of an ONNX file, its metadata say."""
    found: dict[str, Value] = {"model": f"{model.name}@{model.number}", **model.manifest}
    if not model.filename.endswith(".onnx"):
        return found
    return found | _of_onnx(parts.artifacts.path(model.sha256))


@lru_cache(maxsize=64)
def _of_onnx(path: Path) -> dict[str, Value]:
    """What an ONNX file says of itself; it lies under its digest, and so never changes."""
    # An extra: a server without it serves other stages.
    from limner.inferrers.onnx_files import facts_of

    return facts_of(path)


def _input(name: str, *, is_file: bool) -> TensorFacts:
    """Values of any kind are taken; a file travels as base64 or as its address."""
    parameters = {"content": "file: base64, or an address"} if is_file else {"content": "value"}
    return TensorFacts(
        name=name, datatype="BYTES" if is_file else "FP32", shape=[-1] if is_file else [-1, -1], parameters=parameters
    )


def _output(name: str, output: AnyOutput, *, dims: int | None) -> TensorFacts:
    match output:
        case Vector():
            told = {"unit": output.unit}
            width = output.length or dims or -1
            return TensorFacts(name=name, datatype="FP32", shape=[-1, width], parameters=told)
        case Number():
            return TensorFacts(name=name, datatype="INT64" if output.whole else "FP64", shape=[-1])
        case Flag():
            return TensorFacts(name=name, datatype="BOOL", shape=[-1])
        case Text():
            told_text = {} if output.pattern is None else {"pattern": output.pattern}
            return TensorFacts(name=name, datatype="BYTES", shape=[-1], parameters=told_text)
        case Bytes():
            return TensorFacts(name=name, datatype="BYTES", shape=[-1], parameters={"content_type": "base64"})
        case _:
            return TensorFacts(name=name, datatype="BYTES", shape=[-1], parameters={"content_type": "json"})
