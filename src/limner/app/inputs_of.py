"""Tells the names of an inferrer's inputs, as a child process: arguments are folder, target and given parameters."""

import inspect
import json
import os
import sys

from limner.app.declared import load_target
from limner.errors import InferrerBroken, LimnerError
from limner.inferrers.own_source import read_from_source

#: What the platform hands to a constructor or function beside its inputs.
_OFFERED = ("model", "manifest", "device")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def inputs_of(target: object, *, infer: str, given: list[str]) -> list[str]:
    """
    The names of what *target* has to be handed for a record; *given* are set as parameters.

    Raises:
        InferrerBroken: it is neither a class with ``infer`` nor a function.
    """
    if inspect.isclass(target):
        call = getattr(target, "infer", None)
        bound = isinstance(inspect.getattr_static(target, "infer", None), staticmethod | classmethod)
        taken = 0 if bound else 1
        settled: tuple[str, ...] = ()
    else:
        call, taken, settled = target, 0, (*_OFFERED, *given)
    if not callable(call):
        raise InferrerBroken(f"{infer} is neither a class with a method `infer` nor a function.")
    parameters = list(inspect.signature(call).parameters.values())[taken:]
    named = [p for p in parameters if p.kind in _NAMED and p.name not in settled]
    needed = [p.name for p in named if p.default is inspect.Parameter.empty]
    return needed or [p.name for p in named[:1]]


def main(arguments: list[str]) -> int:
    """Write what was found as JSON to standard output, which nothing else gets to write to."""
    folder, infer, *given = arguments
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, folder)
    read_from_source(folder)
    found: dict[str, object]
    try:
        found = {"inputs": inputs_of(load_target(infer), infer=infer, given=given)}
    except LimnerError as error:
        found = {"problem": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's module may raise anything when it is imported
        found = {"problem": f"{infer} cannot be imported: {type(error).__name__}: {error}"}
    with answer:
        json.dump(found, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
