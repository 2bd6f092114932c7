"""The library of graphs lives beside the one that runs models."""

import subprocess
import sys

import pytest


def test_models_may_be_run_after_a_search() -> None:
    """A process that searched may load the runtime of models afterwards."""
    # given
    pytest.importorskip("usearch")
    pytest.importorskip("onnxruntime")

    # when
    done = subprocess.run([sys.executable, "-c", "import limner.search.nearest\nimport onnxruntime"], check=False)

    # then
    assert done.returncode == 0
