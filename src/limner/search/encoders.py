"""Query encoders: the plain functions behind kinds of query, called with the parameters of the stage they follow."""

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from limner.domain.pipelines import Pipeline
from limner.errors import ConfigurationError, UsageError
from limner.search.base import Near

if TYPE_CHECKING:
    from limner.search.base import Numbers


def near_by(pipeline: Pipeline, *, kind: str, value: str) -> Near:
    """
    Likeness to what *value* is for queries by *kind*: ``kind="colour", value="#aa3311"``.

    The encoder is given those of the stage's parameters that it names, so that a changed stage changes the query.

    Raises:
        UsageError: there is no such kind, or the encoder refuses the value.
        ConfigurationError: the encoder cannot be loaded.
    """
    encoder = pipeline.index.encoders.get(kind)
    if encoder is None:
        known = ", ".join(pipeline.index.encoders) or "there is none"
        raise UsageError(f"Nothing in {pipeline.name} is searched by {kind}; known are: {known}")
    stage = pipeline.stage(encoder.on.removeprefix("parent.").partition(".")[0])
    encode = _loaded(encoder.encode, kind=kind)
    named = inspect.signature(encode).parameters
    params = {name: given for name, given in stage.chosen(stage.default).params.items() if name in named}
    try:
        vector = encode(value, **{**params, **encoder.params})
    except ValueError as error:
        raise UsageError(f"{kind}: {error}") from error
    return Near(path=encoder.on, vector=vector)


def _loaded(name: str, *, kind: str) -> "Callable[..., Numbers]":
    """The function called *name*: ``package.module:function``."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"The encoder {name} of queries by {kind} cannot be loaded: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"The encoder {name} of queries by {kind} is no function.")
    loaded: Callable[..., Numbers] = found
    return loaded
