"""From what a stage names to an inferrer that is loaded; the only file that knows the kinds of inferrers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from limner.domain.slicing import COLUMNS
from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken, MissingExtra
from limner.inferrers.base import Inferrer

if TYPE_CHECKING:
    # Half of the time in which a process starts; only `http` needs it.
    import httpx


def load_inferrer(
    runtime: Runtime, *, model_path: Path | None, device: str | None = None, client: "httpx.Client | None" = None
) -> Inferrer:
    """
    The inferrer that *runtime* names, loaded: ``package.module:Name``, ``onnx``, ``http`` or ``given``.

    *device* is the worker's own, for stages whose parameters name none; it is no part of the version. *client* is
    what `http`, and a class that takes a ``client``, asks with, so that the caller decides which addresses may be
    called.

    Raises:
        InferrerBroken: it cannot be loaded; the sentence says what it lacks.
        MissingExtra: the part that it needs is not installed.
    """
    if runtime.infer == "given":
        from limner.inferrers.given import GivenInferrer

        return GivenInferrer(runtime)
    if runtime.infer == "http":
        from limner.inferrers.http import HttpInferrer

        return HttpInferrer(runtime, client=client)
    if runtime.infer == "onnx":
        try:
            from limner.inferrers.onnx import OnnxInferrer
        except ImportError as error:
            raise MissingExtra(extra="onnx,pictures", needs="The inferrer `onnx`") from error
        return OnnxInferrer(runtime, model_path=model_path, device=device)
    if runtime.infer == COLUMNS:
        try:
            from limner.inferrers.columns import ColumnsInferrer
        except ImportError as error:
            raise MissingExtra(extra="tables", needs="A pipeline over slices") from error
        return ColumnsInferrer(runtime, model_path=model_path, device=device)
    from limner.inferrers.python import PythonInferrer

    return PythonInferrer(runtime, model_path=model_path, device=device, client=client)


def asks_over_http(infer: str) -> bool:
    """
    Whether *infer* is to be given a client: `http`, and a class or function that takes a ``client``.

    Raises:
        InferrerBroken: there is no such target.
    """
    if infer in ("given", "http", "onnx", COLUMNS):
        return infer == "http"
    from limner.inferrers.python import takes_client

    return takes_client(infer)


def describe(
    infer: str, *, params: Mapping[str, Value] | None = None, client: "httpx.Client | None" = None
) -> Description:
    """
    What makes the answers of *infer* interchangeable, without loading a model; what is wrong stands in ``problem``.

    A Python target is imported, so ask in a process that may be thrown away.
    """
    if infer == "given":
        from limner.inferrers.given import describe_given

        return describe_given(params or {})
    if infer == "http":
        from limner.inferrers.http import describe_http

        return describe_http(params or {}, client=client)
    if infer == "onnx":
        try:
            from limner.inferrers.onnx import describe_onnx
        except ImportError:
            return Description(code="", problem=str(MissingExtra(extra="onnx,pictures", needs="The inferrer `onnx`")))
        return describe_onnx()
    if infer == COLUMNS:
        try:
            from limner.inferrers.columns import describe_columns
        except ImportError:
            return Description(code="", problem=str(MissingExtra(extra="tables", needs="A pipeline over slices")))
        return describe_columns(params or {})
    from limner.inferrers.sources import describe_target, load_target

    try:
        return describe_target(infer, load_target(infer), params=params)
    except InferrerBroken as error:
        return Description(code="", problem=str(error))
