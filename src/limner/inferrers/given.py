"""Inferrer that hands through what a record brought along; `source` names where it came from."""

from collections.abc import Mapping

from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken
from limner.inferrers.base import Inferrer, Want

_CODE = "given:1"


class GivenInferrer(Inferrer):
    """Answers with its inputs by name; a lone input that is a dictionary is the answer itself."""

    def __init__(self, runtime: Runtime) -> None:
        """
        Take the parameter ``source``, which does nothing but stand in the version.

        Raises:
            InferrerBroken: it is missing, there is another, or a file is read.
        """
        description = describe_given(runtime.params)
        if description.problem:
            raise InferrerBroken(description.problem)
        files = [name for name, read in runtime.reads.items() if read]
        if files:
            raise InferrerBroken(f"The inferrer `given` hands values through, but {', '.join(files)} reads a file.")
        self._description = description
        self._wants = dict.fromkeys(runtime.reads, Want.VALUE)

    def describe(self) -> Description:
        """Always the same; the source stands in the parameters."""
        return self._description

    def wants(self) -> Mapping[str, Want]:
        """Values as they stand."""
        return self._wants

    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """For each record its inputs by name, those left out that it does not have."""
        names = list(columns)
        rows = zip(*columns.values(), strict=True)
        return [_answer(dict(zip(names, row, strict=True))) for row in rows]


def describe_given(params: Mapping[str, Value]) -> Description:
    """The description of `given` with *params*."""
    source = params.get("source")
    if not isinstance(source, str) or not source or len(params) > 1:
        problem = "The inferrer `given` needs params={'source': '…'}, the name of the file that the values came from."
        return Description(code=_CODE, problem=problem)
    return Description(code=_CODE)


def _answer(inputs: dict[str, object]) -> object:
    if len(inputs) == 1:
        (lone,) = inputs.values()
        if isinstance(lone, dict):
            return lone
    present = {name: value for name, value in inputs.items() if value is not None}
    return present or ValueError(f"the record brought no {' and no '.join(inputs)} along")
