"""What an inferrer's code says of itself: its declared version or its source's digest, and packages that matter."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from limner.domain.digests import digest
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken


def load_target(infer: str) -> object:
    """
    The class or function that *infer*, ``package.module:Name``, names.

    Raises:
        InferrerBroken: there is none, or its module cannot be imported.
    """
    module_name, _, name = infer.partition(":")
    if not module_name or not name:
        raise InferrerBroken(f"{infer!r} names no inferrer; write package.module:Name, or onnx, http or given.")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise InferrerBroken(f"{infer} cannot be imported: {type(error).__name__}: {error}") from error
    for step in name.split("."):
        if not hasattr(found, step):
            raise InferrerBroken(f"{infer} cannot be loaded: {module_name} has no {name}.")
        found = getattr(found, step)
    return found


def describe_target(infer: str, target: object, *, params: Mapping[str, Value] | None = None) -> Description:
    """
    The declared ``version`` and ``environment`` of *target*; without a version, the digest of its source file.

    An ``environment`` that can be called is given *params*, and answers with versions by name.
    """
    try:
        return Description(code=_code(infer, target), environment=_environment(infer, target, params=params or {}))
    except InferrerBroken as error:
        return Description(code="", problem=str(error))


def source_file(target: object) -> Path | None:
    """The file that *target* is written in; None where there is none."""
    try:
        name = inspect.getsourcefile(inspect.unwrap(target) if callable(target) else type(target))
    except TypeError:
        return None
    path = Path(name) if name else None
    return path if path and path.is_file() else None


def _code(infer: str, target: object) -> str:
    version = getattr(target, "version", None)
    if version is not None:
        return str(version)
    path = source_file(target)
    if path is None:
        raise InferrerBroken(f"{infer} has neither a version nor a source file; give it an attribute `version`.")
    return f"source:{digest(path.read_bytes()).hex()}"


def _environment(infer: str, target: object, *, params: Mapping[str, Value]) -> Mapping[str, str]:
    names = getattr(target, "environment", ())
    if callable(names):
        return _answered(infer, names, params=params)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InferrerBroken(f"{infer}: `environment` is a tuple of names of packages, such as ('pillow',).")
    try:
        return {name: metadata.version(name) for name in sorted(names)}
    except metadata.PackageNotFoundError as error:
        raise InferrerBroken(f"{infer} says that the package {error.name} matters, but it is not installed.") from error


def _answered(infer: str, environment: Callable[..., object], *, params: Mapping[str, Value]) -> Mapping[str, str]:
    """What an inferrer says matters with these parameters, and in which version it is there."""
    try:
        found = environment(**params)
    except Exception as error:  # a user's function may raise anything
        raise InferrerBroken(f"{infer} cannot say its environment: {error}") from error
    if not isinstance(found, Mapping) or not all(isinstance(part, str) for item in found.items() for part in item):
        raise InferrerBroken(f"{infer}: `environment` answers with versions by name, such as {{'rdkit': '2026.9.1'}}.")
    return dict(found)
