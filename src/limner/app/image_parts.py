"""Installed distributions: which ones something needs, how large they are, and how a lock pins them."""

import ast
import os
import platform
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from limner.errors import UsageError

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;\s*(.*))?")
#: Bytes of a compiled file for each byte of its source: 1.2 over a plain Limner and all that it requires.
_COMPILED = 1.2
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)")


class Part(Struct, frozen=True, kw_only=True):
    """One distribution that goes into an image."""

    name: str
    version: str
    #: Of its files, as they are installed here, with what an installer compiles beside them.
    bytes: int


class Needed(Struct, frozen=True, kw_only=True):
    """What goes into an image besides Limner and the project."""

    parts: tuple[Part, ...]
    #: Modules that are imported and of which no distribution is installed here, with the file that imports each.
    unknown: Mapping[str, str]


def parts_for(modules: Mapping[str, str], *, extras: Collection[str]) -> Needed:
    """
    The distributions that bring *modules*, and those of a plain Limner with *extras*, with all that they require.

    Modules of Python's own library need none.

    Raises:
        UsageError: Limner has no such extra.
    """
    known = metadata.metadata("limner").get_all("Provides-Extra") or []
    strange = sorted(set(extras) - set(known))
    if strange:
        raise UsageError(f"Limner has no extra {', '.join(strange)}; it has: {', '.join(known)}.")
    foreign = {module: by for module, by in modules.items() if module not in sys.stdlib_module_names}
    # Looks into everything that is installed, which takes a while.
    homes = metadata.packages_distributions() if foreign else {}
    wanted: list[tuple[str, frozenset[str]]] = [("limner", frozenset(extras))]
    unknown = {}
    for module, by in foreign.items():
        if module in homes:
            wanted += [(name, frozenset()) for name in homes[module][:1]]
        else:
            unknown[module] = by
    found: dict[str, metadata.Distribution] = {}
    seen = set()
    while wanted:
        name, chosen = wanted.pop()
        if (_plain(name), chosen) in seen:
            continue
        seen.add((_plain(name), chosen))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            unknown[name] = "a package that requires it"
            continue
        found[_plain(name)] = distribution
        wanted += _required(distribution, extras=chosen)
    found.pop("limner", None)
    parts = [Part(name=name, version=found[name].version, bytes=_size(found[name])) for name in sorted(found)]
    return Needed(parts=tuple(parts), unknown=unknown)


def pins_of(parts: Iterable[Part], *, lock: Path | None) -> str:
    """
    The requirements file that installs *parts* and nothing else: as *lock* pins them, with its hashes.

    Without a lock they are pinned as they are installed here.

    Raises:
        UsageError: the lock does not pin one of them.
    """
    if lock is None:
        return "".join(f"{part.name}=={part.version}\n" for part in parts)
    pinned: dict[str, list[str]] = {}
    name = None
    for line in lock.read_text(encoding="utf-8").splitlines():
        found = _PIN.match(line)
        if found:
            name = _plain(found[1])
            pinned.setdefault(name, [])
        if name is not None and (found or line.startswith("    --hash")):
            pinned[name].append(line)
    missing = [part.name for part in parts if part.name not in pinned]
    if missing:
        raise UsageError(f"The lock {lock} does not pin {', '.join(missing)}; add them to it, or name another --lock.")
    return "".join(f"{line}\n" for part in parts for line in _whole(pinned[part.name]))


def _whole(lines: list[str]) -> list[str]:
    """The lines of one pin, of which the last one does not go on."""
    return [*lines[:-1], lines[-1].rstrip(" \\")]


def _required(distribution: metadata.Distribution, *, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    found = []
    for text in distribution.requires or ():
        match = _REQUIREMENT.match(text)
        if match and holds(match[3] or "", extras=extras):
            asked = frozenset(_plain(extra.strip()) for extra in (match[2] or "").split(",") if extra.strip())
            found.append((match[1], asked))
    return found


def holds(marker: str, *, extras: frozenset[str]) -> bool:
    """Whether a requirement's *marker* is true on this machine with one of *extras*; one that is not understood is."""
    if not marker:
        return True
    try:
        tree = ast.parse(marker.strip(), mode="eval").body
    except SyntaxError:
        return True
    return any(_true(tree, _facts(extra)) for extra in extras or {""})


def _facts(extra: str) -> dict[str, str]:
    """What markers may ask."""
    return {
        "extra": extra,
        "implementation_name": sys.implementation.name,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def _true(node: ast.expr, facts: Mapping[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        each = (_true(value, facts) for value in node.values)
        return all(each) if isinstance(node.op, ast.And) else any(each)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return True
    left, right = (_text(side, facts) for side in (node.left, node.comparators[0]))
    versions = any(isinstance(s, ast.Name) and "version" in s.id for s in (node.left, node.comparators[0]))
    return _compare(node.ops[0], left, right, versions=versions)


def _text(node: ast.expr, facts: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return facts.get(node.id, "")
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _compare(operator: ast.cmpop, left: str, right: str, *, versions: bool) -> bool:
    if isinstance(operator, ast.In | ast.NotIn):
        return (left in right) is isinstance(operator, ast.In)
    one, other = (_version(left), _version(right)) if versions else ((left,), (right,))
    if isinstance(operator, ast.Eq | ast.NotEq):
        return (one == other) is isinstance(operator, ast.Eq)
    if isinstance(operator, ast.Lt | ast.GtE):
        return (one < other) is isinstance(operator, ast.Lt)  # type: ignore[operator]  # both of a kind
    return (one <= other) is isinstance(operator, ast.LtE)  # type: ignore[operator]  # both of a kind


def _version(text: str) -> tuple[int, ...]:
    """A version's numbers, without zeros at the end: 3.11.0 is 3.11."""
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _size(distribution: metadata.Distribution) -> int:
    """The bytes of a distribution's files; what was compiled here is not counted, but reckoned."""
    paths = {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
    return sum(
        with_compiled(path.name, path.stat().st_size)
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    )


def with_compiled(name: str, size: int) -> int:
    """The bytes of an installed file and, where it is Python, of its compiled form."""
    return size + int(size * _COMPILED) if name.endswith(".py") else size


def _plain(name: str) -> str:
    """A name as locks have it."""
    return re.sub(r"[-_.]+", "-", name).lower()
