"""Keeps everything models can infer about a collection complete, current, explainable and searchable."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.app.app import open_app as open
    from limner.domain.outputs import Anything, Artifact, Bytes, Flag, Number, Strings, Text, Vector
    from limner.domain.pipelines import Implementation, QueryEncoder
    from limner.domain.pipelines import make_index as Index
    from limner.domain.pipelines import make_pipeline as Pipeline
    from limner.domain.pipelines import make_stage as Stage
    from limner.domain.reads import file, optional, where
    from limner.domain.retry import RetryPolicy

__version__ = "0.1.0"

#: Where each public name stands; loaded when first used, so that ``limner --help`` starts fast.
_HOMES = {
    "Anything": "limner.domain.outputs:Anything",
    "Artifact": "limner.domain.outputs:Artifact",
    "Bytes": "limner.domain.outputs:Bytes",
    "Flag": "limner.domain.outputs:Flag",
    "Implementation": "limner.domain.pipelines:Implementation",
    "Index": "limner.domain.pipelines:make_index",
    "Number": "limner.domain.outputs:Number",
    "Pipeline": "limner.domain.pipelines:make_pipeline",
    "QueryEncoder": "limner.domain.pipelines:QueryEncoder",
    "RetryPolicy": "limner.domain.retry:RetryPolicy",
    "Stage": "limner.domain.pipelines:make_stage",
    "Strings": "limner.domain.outputs:Strings",
    "Text": "limner.domain.outputs:Text",
    "Vector": "limner.domain.outputs:Vector",
    "file": "limner.domain.reads:file",
    "open": "limner.app.app:open_app",
    "optional": "limner.domain.reads:optional",
    "where": "limner.domain.reads:where",
}

__all__ = [
    "Anything",
    "Artifact",
    "Bytes",
    "Flag",
    "Implementation",
    "Index",
    "Number",
    "Pipeline",
    "QueryEncoder",
    "RetryPolicy",
    "Stage",
    "Strings",
    "Text",
    "Vector",
    "file",
    "open",
    "optional",
    "where",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"limner has no {name}")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)
