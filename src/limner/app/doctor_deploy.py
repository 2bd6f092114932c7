"""Looks at a CloudFormation template without asking anybody: its form, what refers to what, and where it goes wrong."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.app.doctor import Finding, State
from limner.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

_SECTIONS = {
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
}
_ATTRIBUTES = {
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
}
_FUNCTIONS = {
    "And",
    "Base64",
    "Cidr",
    "Condition",
    "Equals",
    "FindInMap",
    "GetAZs",
    "GetAtt",
    "If",
    "ImportValue",
    "Join",
    "Not",
    "Or",
    "Ref",
    "Select",
    "Split",
    "Sub",
}
_TYPE = re.compile(r"AWS::[A-Za-z0-9]+::[A-Za-z0-9]+|Custom::[A-Za-z0-9_@-]+")
_HOLE = re.compile(r"\$\{([^!}][^}]*)\}")


class Mistake(Struct, frozen=True, kw_only=True, order=True):
    """One thing that is wrong with a template."""

    #: Counted from 1.
    line: int
    said: str


def examine_template(file: Path) -> list[Finding]:
    """
    What a template makes, if nothing is wrong with it.

    Raises:
        UsageError: it is broken; the text has a line for each mistake, which names the file's line.
        MissingExtra: templates cannot be read here.
    """
    root = _read(file)
    template = _Template(root)
    mistakes = set(template.mistakes())
    lines = {one.line for one in mistakes}
    mistakes |= {one for one in _linted(file) if one.line not in lines}
    if mistakes:
        raise UsageError("\n".join(f"{file}:{one.line}: {one.said}" for one in sorted(mistakes)))
    found = [
        _sound("template", f"{file}: every reference leads somewhere"),
        _sound("resources", ", ".join(f"{name} ({kind})" for name, kind in template.kinds().items())),
        _sound("parameters", ", ".join(template.named("Parameters")) or "none"),
        _sound("outputs", ", ".join(template.named("Outputs")) or "none"),
    ]
    if find_spec("cfnlint") is None:
        told = "cfn-lint is not installed, so the properties of the resources were not looked at"
        found.append(Finding(part="properties", state=State.NOTE, said=told, remedy="pip install cfn-lint"))
    else:
        found.append(_sound("properties", "cfn-lint finds nothing wrong with them"))
    return found


def _read(file: Path) -> "MappingNode":
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(extra="ersilia", needs="Looking at a template") from error
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text: {error}.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}:{line}: This is no YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}:1: This is no YAML: {error}.") from error
    if not isinstance(root, yaml.MappingNode) or "Resources" not in {key.value for key, _ in root.value}:
        raise UsageError(f"{file}:1: This is no template of CloudFormation: it has no section Resources.")
    return root


class _Template:
    """A template as nodes of YAML, which know their lines."""

    def __init__(self, root: "MappingNode") -> None:
        self._root = root
        self._sections = _items(root)

    def named(self, section: str) -> dict[str, "Node"]:
        """What a section names."""
        return _items(self._sections.get(section))

    def kinds(self) -> dict[str, str]:
        """The type of each resource."""
        return {name: str(_items(node)["Type"].value) for name, node in self.named("Resources").items()}

    def mistakes(self) -> Iterator[Mistake]:
        """Everything that is wrong with it."""
        yield from _twice(self._root)
        for key, _ in self._root.value:
            if key.value not in _SECTIONS:
                yield _mistake(key, f"There is no section {key.value}; known are: {', '.join(sorted(_SECTIONS))}.")
        for name, node in self.named("Resources").items():
            yield from self._of_resource(name, node)
        known = {*self.named("Parameters"), *self.named("Resources")}
        used: set[str] = set()
        for node in _all_nodes(self._root):
            for name, at, whole in _references(node):
                used.add(name)
                if name not in known and not name.startswith("AWS::"):
                    told = ", ".join(sorted(known))
                    yield _mistake(at, f"{whole} refers to {name}, which is neither parameter nor resource: {told}.")
            yield from _unknown_function(node)
        for name, node in self.named("Parameters").items():
            if name not in used:
                yield _mistake(node, f"Nothing uses the parameter {name}.")

    def _of_resource(self, name: str, node: "Node") -> Iterator[Mistake]:
        parts = _items(node)
        kind = parts.get("Type")
        if kind is None:
            yield _mistake(node, f"The resource {name} has no Type.")
        elif not isinstance(kind.value, str) or not _TYPE.fullmatch(kind.value):
            yield _mistake(kind, f"{kind.value!r} is no type of a resource; write AWS::Service::Kind.")
        for part, value in parts.items():
            if part not in _ATTRIBUTES:
                yield _mistake(value, f"The resource {name} has {part}, which resources do not have.")
        yield from self._depends(name, parts.get("DependsOn"))

    def _depends(self, name: str, node: "Node | None") -> Iterator[Mistake]:
        wanted = [] if node is None else node.value if isinstance(node.value, list) else [node]
        for one in wanted:
            if one.value not in self.named("Resources"):
                yield _mistake(one, f"{name} depends on {one.value}, which is no resource.")


def _references(node: "Node") -> Iterator[tuple[str, "Node", str]]:
    """What *node* itself refers to: the name, where it stands, and how it is written."""
    if node.tag == "!Ref":
        yield str(node.value), node, f"!Ref {node.value}"
    elif node.tag == "!GetAtt":
        name = node.value.partition(".")[0] if isinstance(node.value, str) else node.value[0].value
        yield str(name), node, "!GetAtt"
    elif node.tag == "!Sub":
        yield from _holes(node)
    for key, value in _pairs(node):
        if key.value == "Ref" and isinstance(value.value, str):
            yield value.value, value, "Ref"
        elif key.value == "Fn::GetAtt" and isinstance(value.value, list):
            yield str(value.value[0].value), value, "Fn::GetAtt"
        elif key.value == "Fn::Sub":
            yield from _holes(value)


def _holes(node: "Node") -> Iterator[tuple[str, "Node", str]]:
    """What the holes of a text are filled from, but for those that it fills itself."""
    text, own = node, set[str]()
    if isinstance(node.value, list) and node.value and not isinstance(node.value[0], tuple):
        text, own = node.value[0], set(_items(node.value[1])) if len(node.value) > 1 else set()
    for hole in _HOLE.findall(str(text.value)):
        name = hole.strip().partition(".")[0]
        if name not in own:
            yield name, text, f"${{{hole}}}"


def _unknown_function(node: "Node") -> Iterator[Mistake]:
    if node.tag.startswith("!") and node.tag[1:] not in _FUNCTIONS:
        yield _mistake(node, f"There is no function {node.tag}.")
    for key, _ in _pairs(node):
        name = str(key.value)
        if name.startswith("Fn::") and name[4:] not in _FUNCTIONS:
            yield _mistake(key, f"There is no function {name}.")


def _twice(root: "Node") -> Iterator[Mistake]:
    """Keys that stand twice in one mapping, of which only the last would count."""
    for node in _all_nodes(root):
        seen: set[str] = set()
        for key, _ in _pairs(node):
            if str(key.value) in seen:
                yield _mistake(key, f"{key.value} stands here twice.")
            seen.add(str(key.value))


def _linted(file: Path) -> Iterator[Mistake]:
    """What cfn-lint, where it is installed, finds wrong: it knows the properties of every resource."""
    if find_spec("cfnlint") is None:
        return
    from cfnlint.api import lint_file

    for match in lint_file(file):
        if match.rule.severity == "error":
            yield Mistake(line=match.linenumber, said=f"{match.message} ({match.rule.id}, cfn-lint)")


def _all_nodes(root: "Node") -> Iterator["Node"]:
    yield root
    for key, value in _pairs(root):
        yield from _all_nodes(key)
        yield from _all_nodes(value)
    if isinstance(root.value, list):
        for item in root.value:
            if not isinstance(item, tuple):
                yield from _all_nodes(item)


def _pairs(node: "Node | None") -> list[tuple["Node", "Node"]]:
    """Keys and values of a mapping; nothing of anything else."""
    if node is None or not isinstance(node.value, list):
        return []
    return [item for item in node.value if isinstance(item, tuple)]


def _items(node: "Node | None") -> dict[str, "Node"]:
    return {str(key.value): value for key, value in _pairs(node)}


def _mistake(node: "Node", said: str) -> Mistake:
    return Mistake(line=node.start_mark.line + 1, said=said)


def _sound(part: str, said: str) -> Finding:
    return Finding(part=part, state=State.SOUND, said=said)
