"""usearch, the library of graphs, loaded so that onnxruntime may be loaded after it."""

from contextlib import suppress

# The order matters: usearch exports a C++ runtime of its own, and onnxruntime, where it is loaded after usearch, binds
# to that one and ends the process (seen with usearch 2.26 and onnxruntime 1.31 on Linux).
with suppress(ImportError):
    import onnxruntime  # noqa: F401

from usearch.compiled import MetricKind, ScalarKind
from usearch.index import Index

__all__ = ["Index", "MetricKind", "ScalarKind"]
