"""Pixeltable's side of work B: the tiny model as a batched function."""

import os
import time

import numpy as np
import pixeltable as pxt
from pixeltable.func import Batch

_WEIGHTS = np.linspace(-1, 1, 16)


@pxt.udf(batch_size=1000)
def infer(x: Batch[pxt.Array[(16,), pxt.Float]]) -> Batch[float]:
    """The tiny model."""
    time.sleep(float(os.environ["BENCH_SECONDS"]))
    return list((np.stack(x) @ _WEIGHTS).tolist())
