"""Trainers and gates as users write them: plain classes and functions, loaded by name and called with care."""

import inspect
import pkgutil
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from limner.domain.values import Value
from limner.errors import InferrerBroken, LimnerError, UsageError
from limner.inferrers.connect import describe

#: What the platform hands to ``train`` itself, and no parameter may name.
_OFFERED = ("samples", "seed", "sample", "features_version")


class TrainerCode:
    """
    A class with ``train(samples, *, seed, **parameters) -> Path`` and ``evaluate(model, samples) -> metrics``.

    Of the ways to be told more it takes those that it names: ``folder`` (where to write) when it is made, ``sample``
    (how many to learn from) and ``features_version`` (the version that the samples are of) when it trains.
    ``evaluate`` judges by samples that the training of that model did not see.
    """

    def __init__(self, target: str, *, folder: Path) -> None:
        """
        Load *target* and make one object of it, which writes into *folder* if it can be told.

        Raises:
            InferrerBroken: it cannot be loaded, or is no trainer.
        """
        self.target = target
        found = _loaded(target)
        if not inspect.isclass(found):
            raise InferrerBroken(f"{target} is no trainer: name a class with `train` and `evaluate`.")
        methods = {name: getattr(found, name, None) for name in ("train", "evaluate")}
        lacking = [name for name, method in methods.items() if not callable(method)]
        if lacking:
            raise InferrerBroken(f"{target} is no trainer: it lacks the method {' and '.join(lacking)}.")
        made: Callable[..., Value] = found
        self._class = found
        self._parameters = inspect.signature(methods["train"]).parameters  # type: ignore[arg-type]  # seen above
        told = {"folder": folder} if "folder" in _takes(made) else {}
        self._object = _called(target, "cannot be made", lambda: made(**told))

    def train(
        self,
        samples: Iterable[Value],
        *,
        seed: int,
        sample: int | None,
        features_version: str | None,
        parameters: Mapping[str, Value],
    ) -> Path:
        """
        The file of a newly trained model.

        Raises:
            UsageError: a parameter is unknown, or the trainer refused the samples or parameters with a ValueError.
            InferrerBroken: the trainer failed otherwise, or answered with no file.
        """
        self._refuse_unknown(parameters, sample=sample)
        told: dict[str, Value] = {**parameters, "seed": seed}
        if sample is not None:
            told["sample"] = sample
        if features_version is not None and "features_version" in self._parameters:
            told["features_version"] = features_version
        file = _called(self.target, "did not train", lambda: self._object.train(samples, **told))
        if not isinstance(file, Path) or not file.is_file():
            raise InferrerBroken(f"{self.target}: `train` must answer with the path of the file that it wrote.")
        return file

    def evaluate(self, model: Path, samples: Iterable[Value]) -> dict[str, float]:
        """
        Figures by which the trainer judges the file *model*.

        Raises:
            UsageError: the trainer refused the model or the samples with a ValueError.
            InferrerBroken: the trainer failed otherwise, or answered with something else than figures.
        """
        found = _called(self.target, "did not judge", lambda: self._object.evaluate(model, samples))
        if not isinstance(found, Mapping):
            raise InferrerBroken(f"{self.target}: `evaluate` must answer with a dictionary of figures.")
        try:
            return {str(name): float(figure) for name, figure in found.items()}
        except (TypeError, ValueError) as error:
            raise InferrerBroken(f"{self.target}: `evaluate` answered with more than figures: {error}") from error

    def origin(self) -> dict[str, Value]:
        """The code's version or digest, and the versions of the libraries that its module uses."""
        described = describe(self.target)
        if described.problem:
            raise InferrerBroken(described.problem)
        libraries = {**_libraries(self._class.__module__), **described.environment}
        return {"trainer": self.target, "code": described.code, "libraries": libraries}

    def _refuse_unknown(self, parameters: Mapping[str, Value], *, sample: int | None) -> None:
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in self._parameters.values())
        own = [name for name in self._parameters if name not in (*_OFFERED, "self")]
        unknown = [name for name in parameters if name not in own and not (anything and name not in _OFFERED)]
        if unknown:
            raise UsageError(
                f"{self.target} takes no parameter {', '.join(unknown)}; it takes: {', '.join(own) or 'none'}."
            )
        if sample is not None and "sample" not in self._parameters and not anything:
            raise UsageError(f"{self.target} takes no sample; leave it out, it learns from all.")


def ask_gate(
    target: str, metrics: Mapping[str, float], champion_metrics: Mapping[str, float] | None
) -> tuple[str, ...]:
    """
    Why the gate *target* refuses a model with these figures; empty where it does not.

    Raises:
        InferrerBroken: it cannot be loaded, raised, or answered with something else than sentences.
    """
    gate = _loaded(target)
    if not callable(gate):
        raise InferrerBroken(f"{target} is no gate: name a function gate(metrics, champion_metrics).")
    ours, theirs = dict(metrics), None if champion_metrics is None else dict(champion_metrics)
    found = _called(target, "did not judge", lambda: gate(ours, theirs))
    if not isinstance(found, list) or not all(isinstance(reason, str) for reason in found):
        raise InferrerBroken(f"{target} must answer with a list of reasons to refuse, empty where there is none.")
    return tuple(found)


def _loaded(target: str) -> object:
    """The class or function that *target* names."""
    module, _, name = target.partition(":")
    if not module or not name:
        raise InferrerBroken(f"{target!r} names no trainer or gate; write package.module:Name.")
    try:
        found: object = pkgutil.resolve_name(target)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise InferrerBroken(f"{target} cannot be loaded: {type(error).__name__}: {error}") from error
    return found


def _takes(target: Callable[..., object]) -> set[str]:
    try:
        return set(inspect.signature(target).parameters)
    except ValueError:
        return set()


def _called(target: str, failed: str, call: Callable[[], Value]) -> Value:
    """What a user's code answers; what it raises becomes a sentence."""
    try:
        return call()
    except (LimnerError, MemoryError):
        raise
    except ValueError as error:
        raise UsageError(f"{target} {failed}: {error}") from error
    except Exception as error:  # a user's code may raise anything
        raise InferrerBroken(f"{target} {failed}: {type(error).__name__}: {error}") from error


def _libraries(module: str) -> dict[str, str]:
    """Installed versions of the packages whose names stand in *module*: what it imported."""
    owners = metadata.packages_distributions()
    names = {_package(value) for value in vars(sys.modules[module]).values()}
    found = {owner for name in names if name for owner in owners.get(name, ())}
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in sorted(found)}}


def _package(value: object) -> str:
    """The package that a name of a module is from."""
    module = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""
