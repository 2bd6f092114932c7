"""What a project declares: its pipelines, and the systems that are installed."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from limner.domain.pipelines import Pipeline
from limner.domain.systems import System
from limner.errors import ConfigurationError, LimnerError, NotFound
from limner.inferrers.own_source import read_from_source, spec_of
from limner.settings import Project

#: The file that is looked for where the settings name no pipelines.
PIPELINE_FILE = "pipeline.py"


class Declared:
    """Pipelines of a project's own files and of the systems, by name; a project's own win."""

    def __init__(self, project: Project) -> None:
        self._project = project

    @cached_property
    def systems(self) -> Mapping[str, System]:
        """The installed systems by name."""
        found = {}
        for point in entry_points(group="limner.systems"):
            try:
                system = point.load()
            except (ImportError, AttributeError) as error:
                raise ConfigurationError(f"The system {point.name} cannot be loaded: {error}") from error
            if not isinstance(system, System):
                raise ConfigurationError(f"The entry point {point.value} is no limner System.")
            found[system.name] = system
        return found

    @cached_property
    def own(self) -> Mapping[str, Pipeline]:
        """The pipelines that the project's files declare."""
        named = self._project.settings.pipelines
        if named:
            return {name: self._of_setting(name, place) for name, place in named.items()}
        file = self._project.folder / PIPELINE_FILE
        return {} if not file.is_file() else {p.name: p for p in pipelines_of(file)}

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Every pipeline by name; those that systems make are made when they are asked for."""
        systems = {p.name: p for system in self.systems.values() for p in system.pipelines}
        makers = {
            name: target
            for system in self.systems.values()
            for name, target in system.makers.items()
            if all(importlib.util.find_spec(module) for module in system.needs)
        }
        return _Pipelines({**makers, **systems, **self.own}, folder=self._project.folder)

    def pipeline(self, name: str) -> Pipeline:
        """
        The pipeline called *name*, or the only one of the file *name*.

        Raises:
            NotFound: there is none; the sentence names the known ones.
            ConfigurationError: its file cannot be read.
        """
        if name.endswith(".py"):
            found = pipelines_of(self._project.path(name))
            if len(found) != 1:
                names = ", ".join(p.name for p in found)
                raise ConfigurationError(f"{name} declares {len(found)} pipelines ({names}); name one of them.")
            return found[0]
        if name in self.own:
            return self.own[name]
        if name not in self.pipelines:
            known = ", ".join(self.pipelines) or "none"
            raise NotFound(f"There is no pipeline {name}; known are: {known}. A file may be named too: pipeline.py")
        return self.pipelines[name]

    def at_work(self, name: str) -> dict[str, Pipeline]:
        """The pipelines that an engine serves while *name* runs: the project's own, and that one."""
        chosen = self.pipeline(name)
        return {**self.own, chosen.name: chosen}

    def _of_setting(self, name: str, place: str) -> Pipeline:
        file, _, variable = place.partition(":")
        module = load_file(self._project.path(file))
        found = getattr(module, variable or "pipeline", None)
        if not isinstance(found, Pipeline):
            raise ConfigurationError(f"The setting `pipelines` names {place} for {name}, which is no Pipeline.")
        return found


class _Pipelines(Mapping[str, Pipeline]):
    """Pipelines by name, some of them still to be made."""

    def __init__(self, known: Mapping[str, Pipeline | str], *, folder: Path) -> None:
        self._known = dict(known)
        self._folder = folder

    def __getitem__(self, name: str) -> Pipeline:
        found = self._known[name]
        if isinstance(found, str):
            found = self._known[name] = _made(found, load_target(found), folder=self._folder)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known


def _made(target: str, maker: object, *, folder: Path) -> Pipeline:
    found = maker(folder) if callable(maker) else None
    if not isinstance(found, Pipeline):
        raise ConfigurationError(f"{target} makes no Pipeline.")
    return found


def pipelines_of(file: Path) -> list[Pipeline]:
    """The pipelines that a file declares, in order."""
    found = [value for value in vars(load_file(file)).values() if isinstance(value, Pipeline)]
    if not found:
        raise ConfigurationError(f"{file} declares no Pipeline.")
    return list({pipeline.name: pipeline for pipeline in found}.values())


def load_file(file: Path) -> ModuleType:
    """
    The module in *file*, run once.

    Raises:
        ConfigurationError: it is not there, or it raises.
    """
    if not file.is_file():
        raise ConfigurationError(f"There is no file {file}.")
    name = f"limner_project_{file.stem}_{abs(hash(file))}"
    spec = spec_of(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    read_from_source(file.parent)
    try:
        spec.loader.exec_module(module)
    except LimnerError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(file.parent))
    return module


def load_target(target: str) -> object:
    """
    What ``package.module:name`` names.

    Raises:
        ConfigurationError: there is no such thing.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{target} cannot be loaded: {error}") from error
