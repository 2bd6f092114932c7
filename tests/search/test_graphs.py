"""The library of graphs lives beside the one that runs models."""

import subprocess
import sys
from importlib.util import find_spec

import pytest


def test_models_may_be_run_after_a_search() -> None:
    """A process that searched may load the runtime of models afterwards."""
    # given
    if not (find_spec("usearch") and find_spec("onnxruntime")):
        pytest.skip("both libraries are needed")

    # when
    done = subprocess.run([sys.executable, "-c", "import limner.search.nearest\nimport onnxruntime"], check=False)

    # then
    assert done.returncode == 0
