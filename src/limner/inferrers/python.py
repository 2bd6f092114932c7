"""Inferrers in plain Python: a class with `infer`, or a function; annotations decide what they are handed."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken
from limner.inferrers.annotations import Asked, asked_by
from limner.inferrers.base import Inferrer, OutputsMiscounted, Want
from limner.inferrers.sources import describe_target, load_target, source_file

if TYPE_CHECKING:
    # Half of the time in which a process starts; few inferrers ask over HTTP.
    import httpx

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class PythonInferrer(Inferrer):
    """A user's class or function, called with the inputs by name."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        model_path: Path | None,
        device: str | None = None,
        client: "httpx.Client | None" = None,
    ) -> None:
        """
        Import the target and, where it is a class, make one object of it.

        A constructor (or function) is handed the parameters by name, and of ``model`` (a path), ``manifest``,
        ``device`` and ``client`` (an HTTP client that calls allowed addresses only) those that it names.

        Raises:
            InferrerBroken: it cannot be loaded, or does not take what the stage gives it.
        """
        self._infer = runtime.infer
        self._target = load_target(runtime.infer)
        # Now, not when it is asked: the file may change later, what was imported does not.
        self._description = describe_target(runtime.infer, self._target, params=runtime.params)
        offered: dict[str, object] = {
            "model": model_path,
            "manifest": dict(runtime.model.manifest) if runtime.model else None,
            "device": device,
            "client": client,
        }
        arguments = arguments_of(runtime.infer, self._target, params=runtime.params, offered=offered)
        self._object: object = None
        if inspect.isclass(self._target):
            self._object = _made(runtime.infer, self._target, arguments=arguments)
            # A method of the user's own: what it takes is read from its signature.
            self._call: Callable[..., object] = self._object.infer  # type: ignore[attr-defined]  # arguments_of saw it
            signed = self._call
        else:
            signed = _function(runtime.infer, self._target)
            self._call = partial(signed, **arguments)
        self._asked = _asked(runtime, signed, given=set(arguments) if self._object is None else set())
        self._batched = next(iter(self._asked.values())).batch

    def describe(self) -> Description:
        """The declared version, else the digest of the source file; the packages that it says matter."""
        return self._description

    def wants(self) -> Mapping[str, Want]:
        """What the annotations ask for."""
        return {name: asked.want for name, asked in self._asked.items()}

    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """One call for ``list[T]``, else one call a record, each with its own exception."""
        count = len(next(iter(columns.values())))
        if self._batched:
            return _outputs(self._infer, self._call(**columns), count=count)
        names = list(columns)
        return [self._one(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]

    def golden(self) -> Value:
        """The class's or function's ``golden``: a list of cases, or the name of a JSON file beside its source."""
        golden = getattr(self._target, "golden", None)
        if not isinstance(golden, str | Path):
            return golden
        home = source_file(self._target)
        path = home.parent / golden if home else Path(golden)
        try:
            cases = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InferrerBroken(f"{self._infer}: its golden cases cannot be read from {golden}: {error}") from error
        return {"folder": str(path.parent), "cases": cases}

    def close(self) -> None:
        """Call the object's own ``close``, where it has one."""
        close = getattr(self._object, "close", None)
        if callable(close):
            close()

    def _one(self, inputs: dict[str, object]) -> object:
        try:
            return self._call(**inputs)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a user's code raises fails its record and no other
            return error


def takes_client(infer: str) -> bool:
    """
    Whether *infer* names a parameter ``client``.

    Raises:
        InferrerBroken: it cannot be imported, or is no inferrer.
    """
    return "client" in _parameters(infer, load_target(infer))


def arguments_of(
    infer: str, target: object, *, params: Mapping[str, Value], offered: Mapping[str, object]
) -> dict[str, object]:
    """
    The keyword arguments that *target* is made with, or for a function called with beside its inputs.

    Raises:
        InferrerBroken: a parameter is unknown or missing; the sentence names it.
    """
    takes = _parameters(infer, target)
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    arguments = {name: value for name, value in offered.items() if name in takes and value is not None} | dict(params)
    unknown = [name for name in params if name not in takes and not anything]
    if unknown:
        known = ", ".join(name for name, p in takes.items() if p.kind in _NAMED and name not in offered) or "none"
        raise InferrerBroken(f"{infer} takes no parameter {', '.join(unknown)}; it takes: {known}.")
    if offered.get("model") is not None and "model" not in takes and not anything:
        raise InferrerBroken(f"{infer} is given a model, but takes no parameter `model`.")
    if inspect.isclass(target):
        _refuse_missing(infer, takes, arguments=arguments)
    return arguments


def _refuse_missing(infer: str, takes: Mapping[str, inspect.Parameter], *, arguments: Mapping[str, object]) -> None:
    required = [n for n, p in takes.items() if p.kind in _NAMED and p.default is inspect.Parameter.empty]
    missing = [name for name in required if name not in arguments]
    if "model" in missing:
        raise InferrerBroken(f"{infer} needs a model, but its stage names none; write model='name@champion'.")
    if missing:
        raise InferrerBroken(f"{infer} needs the parameter {', '.join(missing)}; set it in the stage's params.")


def _parameters(infer: str, target: object) -> Mapping[str, inspect.Parameter]:
    if inspect.isclass(target) and not callable(getattr(target, "infer", None)):
        raise InferrerBroken(f"{infer} is a class without a method `infer`.")
    if inspect.isclass(target) and target.__init__ is object.__init__:
        return {}
    try:
        return inspect.signature(_function(infer, target)).parameters
    except ValueError as error:
        raise InferrerBroken(f"{infer} does not say what it takes: {error}") from error


def _function(infer: str, target: object) -> Callable[..., object]:
    if not callable(target):
        raise InferrerBroken(f"{infer} is a {type(target).__name__}; name a class with `infer`, or a function.")
    return target


def _made(infer: str, target: type, *, arguments: Mapping[str, object]) -> object:
    try:
        return target(**arguments)
    except MemoryError:
        raise
    except Exception as error:  # a user's constructor may raise anything
        raise InferrerBroken(f"{infer} cannot be made: {type(error).__name__}: {error}") from error


def _asked(runtime: Runtime, signed: Callable[..., object], *, given: set[str]) -> dict[str, Asked]:
    """What each read of the stage is wanted as; the parameters of *signed* and the reads must agree."""
    takes = inspect.signature(signed).parameters
    rest = next((p for p in takes.values() if p.kind is inspect.Parameter.VAR_KEYWORD), None)
    unknown = [name for name in runtime.reads if name not in takes and rest is None]
    if unknown:
        raise InferrerBroken(f"{runtime.infer} takes no input {', '.join(unknown)}; it takes: {', '.join(takes)}.")
    needed = [n for n, p in takes.items() if p.kind in _NAMED and p.default is inspect.Parameter.empty]
    missing = [name for name in needed if name not in runtime.reads and name not in given]
    if missing:
        raise InferrerBroken(f"{runtime.infer} takes {', '.join(missing)}, which its stage neither reads nor sets.")
    asked = {name: asked_by(signed, takes.get(name) or _of(rest)) for name in runtime.reads}
    if len({one.batch for one in asked.values()}) > 1:
        lists = ", ".join(name for name, one in asked.items() if one.batch)
        raise InferrerBroken(f"{runtime.infer} takes lists for {lists} only; take a list for every input, or for none.")
    return asked


def _of(rest: inspect.Parameter | None) -> inspect.Parameter:
    if rest is None:
        raise AssertionError("an input that is neither named nor taken by ** was let through")
    return rest


def _outputs(infer: str, outputs: object, *, count: int) -> list[object]:
    if isinstance(outputs, str | bytes | Mapping) or not isinstance(outputs, Iterable):
        raise OutputsMiscounted(
            f"{infer} answered {count} inputs with a {type(outputs).__name__}; answer a list with one output for each."
        )
    found = list(outputs)
    if len(found) != count:
        raise OutputsMiscounted(f"{infer} answered {count} inputs with {len(found)} outputs.")
    return found
