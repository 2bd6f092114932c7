"""Checks two rules that need to know our tree: only connect.py knows a backend; an inferrer knows no plumbing."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp

SOURCE = Path(__file__).resolve().parent.parent / "src"
#: How a pipeline names an inferrer or a trainer of a system: ``limner.systems.catalogue.palette:Palette``.
NAMED_IN_PIPELINE = re.compile(r"limner\.systems\.\w+(?:\.\w+)+(?=:\w)")
#: Modules that run in a worker or a trainer without being named by a pipeline, where a system has them.
ALSO_PLAIN = {
    "catalogue": ("palette", "aspect_ratio", "features_model", "codes", "codes_trainer", "plates", "summary"),
    "antenna": ("classifier_trainer", "trap_files", "trap_insects", "trap_pictures"),
}


#: Rooms with one implementation, which the design allows to be known: the store serves both databases through one.
ONE_IMPLEMENTATION = ("store",)


def backends_of(room: Path) -> set[str]:
    """The modules of *room* that its connect.py imports or names in a string, but for the contract."""
    package = f"limner.{room.name}"
    named: set[str] = set()
    for node in ast.walk(ast.parse((room / "connect.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            named.update((node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named.add(node.value.partition(":")[0])
    modules = {f"{package}.{path.stem}" for path in room.glob("*.py")}
    modules |= {f"{package}.{path.parent.name}" for path in room.glob("*/__init__.py")}
    return named & modules - {f"{package}.base", f"{package}.connect", f"{package}.__init__"}


def strangers_to_backends(graph: grimp.ImportGraph, *, source: Path) -> Iterator[str]:
    """One sentence for each import of a backend by anything but its own room and limner.testing."""
    for connect in sorted((source / "limner").glob("*/connect.py")):
        if connect.parent.name in ONE_IMPLEMENTATION:
            continue
        room = f"limner.{connect.parent.name}"
        for backend in sorted(backends_of(connect.parent)):
            for importer in sorted(graph.find_modules_that_directly_import(backend)):
                family = importer.startswith((f"{room}.", "limner.testing"))
                if importer == f"{room}.base" or not family:
                    yield f"{importer} imports {backend}; only {room}.connect may know a backend, so ask it by URL."


def plain_modules(source: Path) -> set[str]:
    """The modules of systems that workers and trainers load: what pipelines name, and ALSO_PLAIN."""
    systems = source / "limner" / "systems"
    found = {
        module
        for path in systems.glob("**/*.py")
        for module in NAMED_IN_PIPELINE.findall(path.read_text(encoding="utf-8"))
    }
    for system, names in ALSO_PLAIN.items():
        found.update(f"limner.systems.{system}.{name}" for name in names)
    return found


def within(module: str, *, system: str) -> bool:
    """Whether *module* is the package *system* or lies in it."""
    return module == system or module.startswith(f"{system}.")


def plumbing_in_inferrers(graph: grimp.ImportGraph, *, source: Path) -> Iterator[str]:
    """One sentence for each inferrer that reaches, directly or not, a module of limner outside its system."""
    for module in sorted(plain_modules(source) & graph.modules):
        system = ".".join(module.split(".")[:3])
        for reached in sorted(graph.find_upstream_modules(module)):
            outside = reached.split(".")[0] == "limner" and not within(reached, system=system)
            chain = graph.find_shortest_chain(importer=module, imported=reached) if outside else None
            # A longer chain that leaves the system earlier is told by its own first step outside.
            if chain and all(within(step, system=system) for step in chain[:-1]):
                yield f"{' imports '.join(chain)}; an inferrer or trainer imports nothing of limner outside {system}."


def complaints(source: Path) -> list[str]:
    """Every breach of the two rules under *source*, a sentence each."""
    graph = grimp.build_graph("limner", cache_dir=None)
    return [*strangers_to_backends(graph, source=source), *plumbing_in_inferrers(graph, source=source)]


def main() -> int:
    """Print the breaches; the exit status is 1 where there is one."""
    found = complaints(SOURCE)
    print(*(found or ["Rooms: only connect.py knows a backend, and inferrers know no plumbing."]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
