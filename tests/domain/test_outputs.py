"""Declared outputs, and what is said of a value that breaks the declaration."""

from array import array

import numpy as np
import pytest

from limner.domain.outputs import (
    AnyOutput,
    Anything,
    Artifact,
    Bytes,
    Flag,
    Number,
    Strings,
    Text,
    Vector,
    files_in,
    problem_of,
)
from limner.domain.values import Value

GOOD: list[tuple[AnyOutput, Value]] = [
    (Number(), 3),
    (Number(), 2.5),
    (Number(), np.float32(2.5)),
    (Number(least=0, most=1), 0),
    (Number(least=0, most=1), 1.0),
    (Number(above=0), 0.1),
    (Number(whole=True), 4.0),
    (Text(), ""),
    (Text(pattern="#[0-9a-f]{6}"), "#00ff00"),
    (Flag(), False),
    (Strings(), []),
    (Strings(), ["a"]),
    (Bytes(), b""),
    (Bytes(length=2), b"ab"),
    (Vector(), np.array([1.0, 2.0], dtype="<f4")),
    (Vector(length=2, unit=True), np.array([0.6, 0.8], dtype="<f4")),
    (Vector(), [1.0, 2.0]),
    (Vector(), array("f", [1.0])),
    (Anything(), {"a": [1, None]}),
    (Artifact(), {"sha256": "0" * 64, "bytes": 3, "kind": "image/jpeg"}),
]
BAD: list[tuple[AnyOutput, Value, str]] = [
    (Number(), "3", "is a str and not a number"),
    (Number(), True, "is a bool and not a number"),
    (Number(), float("nan"), "is nan, which is no finite number"),
    (Number(whole=True), 1.5, "is 1.5 and not a whole number"),
    (Number(above=0), 0, "is 0 and not above 0"),
    (Number(least=0), -1, "is -1, below 0"),
    (Number(most=1), 2, "is 2, above 1"),
    (Text(), 3, "is a int and not text"),
    (Text(pattern="a+"), "ab", "is 'ab', which does not match a+"),
    (Flag(), 1, "is a int and neither true nor false"),
    (Strings(), "abc", "is not a list of strings"),
    (Strings(), ["a", 1], "is not a list of strings"),
    (Bytes(), "ab", "is a str and not bytes"),
    (Bytes(length=3), b"ab", "has 2 bytes and not 3"),
    (Vector(), np.zeros((2, 2)), "has shape (2, 2)"),
    (Vector(), ["a"], "a vector of numbers was declared"),
    (Vector(length=3), np.zeros(2), "has 2 numbers and not 3"),
    (Vector(), np.array([np.inf]), "holds a number that is not finite"),
    (Vector(unit=True), np.array([1.0, 1.0]), "a unit vector was declared"),
    (Anything(), [float("inf")], "holds a number that is not finite"),
    (Artifact(), "a file", "is a str and no file"),
    (Artifact(), {"sha256": "a", "bytes": 3, "kind": "image/jpeg"}, "is a dict and no file"),
    (Artifact(), {"sha256": "0" * 64, "bytes": -1, "kind": "image/jpeg"}, "is a dict and no file"),
    (Artifact(), {"sha256": "0" * 64}, "is a dict and no file"),
]


@pytest.mark.parametrize(("output", "value"), GOOD)
def test_value_that_keeps_its_declaration_has_no_problem(output: AnyOutput, value: Value) -> None:
    """Nothing is said of a right value."""
    assert problem_of({"v": value}, outputs={"v": output}) is None


@pytest.mark.parametrize(("output", "value", "said"), BAD)
def test_value_that_breaks_its_declaration_is_explained(output: AnyOutput, value: Value, said: str) -> None:
    """The sentence begins with the name of the output and says what is wrong."""
    problem = problem_of({"v": value}, outputs={"v": output})

    assert problem is not None
    assert problem.startswith("v ")
    assert said in problem
    assert problem.endswith(".")


def test_names_must_be_those_that_are_declared() -> None:
    """What is missing, and what was not declared, is named; an optional output may be absent."""
    outputs: dict[str, AnyOutput] = {"a": Number(), "b": Text(optional=True)}

    assert problem_of({"a": 1}, outputs=outputs) is None
    assert problem_of({"a": 1, "b": None}, outputs=outputs) is None
    assert problem_of({"b": "x"}, outputs=outputs) == "The output lacks a, which the stage declares."
    assert problem_of({"a": None}, outputs=outputs) == "The output lacks a, which the stage declares."
    assert "names c" in str(problem_of({"a": 1, "c": 2}, outputs=outputs))
    assert "a dictionary with a, b was declared" in str(problem_of([1], outputs=outputs))


def test_stage_without_declared_outputs_may_answer_anything_finite() -> None:
    """Only numbers that are not finite are refused."""
    assert problem_of([1, "a", None], outputs={}) is None
    assert "not finite" in str(problem_of(float("nan"), outputs={}))


def test_files_of_a_value_are_found() -> None:
    """The digests of the artifacts that a value refers to, absent ones passed over."""
    outputs: dict[str, AnyOutput] = {"a": Artifact(), "b": Artifact(optional=True), "c": Text()}
    reference = {"sha256": "0" * 64, "bytes": 3, "kind": "image/jpeg"}

    assert files_in({"a": reference, "b": None, "c": "x"}, outputs=outputs) == ["0" * 64]
    assert files_in({"a": reference, "b": {**reference, "sha256": "1" * 64}}, outputs=outputs) == ["0" * 64, "1" * 64]
    assert files_in([reference], outputs=outputs) == []
