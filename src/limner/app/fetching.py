"""What a project's settings say of files that are fetched: where they are kept, and who finds their addresses."""

from limner.app.declared import Declared, load_target
from limner.clock import Clock
from limner.errors import ConfigurationError
from limner.settings import Project
from limner.worker.cache import FileCache, keep_for
from limner.worker.fetch import Resolver


def cache_of(project: Project, *, clock: Clock) -> FileCache:
    """The cache of fetched files, as the settings bound it."""
    settings = project.settings
    return FileCache(
        project.path(settings.cache), clock=clock, keep=keep_for(settings.keep), max_bytes=settings.cache_bytes
    )


def resolvers_of(declared: Declared) -> dict[str, Resolver]:
    """
    The resolvers of addresses that pipelines name, by name; all of them where no pipeline is declared.

    Raises:
        ConfigurationError: one of them is no function.
    """
    named = {
        read.file.resolver
        for pipeline in declared.own.values()
        for stage in pipeline.stages
        for read in stage.reads.values()
        if read.file and read.file.resolver
    }
    found: dict[str, Resolver] = {}
    for system in declared.systems.values() if named or not declared.own else ():
        for name, target in system.resolvers.items():
            resolve = load_target(target)
            if not callable(resolve):
                raise ConfigurationError(f"{target} is no function.")
            found[name] = resolve
    return found
