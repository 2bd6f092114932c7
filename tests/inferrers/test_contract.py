"""The contract that ships for tests of inferrers: it passes good ones, and says what is wrong with others."""

from collections.abc import Callable

import pytest

from limner.domain.outputs import Number, Vector
from limner.domain.values import Value
from limner.testing.inferrer_contract import check_inferrer

Module = Callable[[str], str]
NUMBERS = [{"number": 1}, {"number": 2}, {"number": 3}]


def test_good_inferrer_passes(user_module: Module) -> None:
    """What it answered is handed back, an exception in place of an output included."""
    # given
    name = user_module(
        """
        class Half:
            version = "1"

            def infer(self, number: list[int]) -> list[dict | Exception]:
                return [{"value": n / 2, "list": [n, n]} if n < 3 else ValueError("too large") for n in number]
        """
    )

    # when
    answers = check_inferrer(f"{name}:Half", NUMBERS, outputs={"value": Number(), "list": Vector(length=2)})

    # then
    assert answers[0] == {"value": 0.5, "list": [1, 1]}
    assert isinstance(answers[2], ValueError)


def test_children_are_judged(user_module: Module) -> None:
    """An inferrer that expands answers children, no two of them the same."""
    # given
    name = user_module(
        """
        def twins(number: list[int]) -> list[list[dict]]:
            return [[{"at": n}, {"at": n}] for n in number]
        """
    )

    # then
    with pytest.raises(AssertionError, match="same identity"):
        check_inferrer(f"{name}:twins", NUMBERS, identity=["at"])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [{'value': 1.0}] * (len(number) - 1 or 1)", "answered 3 inputs with 2 outputs"),
        ("self.calls += 1; return [{'value': float(self.calls)} for _ in number]", "asked a second time"),
        ("return [{'value': float(len(number))} for _ in number]", "asked about one input alone"),
        ("return [{'value': 'much'} for _ in number]", "about input 0: value is a str and not a number"),
    ],
)
def test_what_is_wrong_is_told(user_module: Module, body: str, told: str) -> None:
    """A wrong number of outputs, answers that change, answers that depend on neighbours, and undeclared ones."""
    # given
    source = f"""
class Odd:
    version = "1"
    calls = 0

    def infer(self, number: list[int]) -> list[dict]:
        {body}
"""
    name = user_module(source)
    outputs: dict[str, Value] = {"value": Number()}

    # then
    with pytest.raises(Exception, match=told):
        check_inferrer(f"{name}:Odd", NUMBERS, outputs=outputs)
