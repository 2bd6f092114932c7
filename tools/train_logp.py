"""Trains the shipped model eos1lgp and writes its ONNX file: `python -m tools.train_logp`."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from rdkit import Chem
from rdkit.Chem import Crippen
from sklearn.linear_model import Ridge

from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.packages.in_process import load_module
from limner.systems.ersilia.packages.reading import HUB, read_package
from tools.package_figures import molecules

FILE = HUB / "eos1lgp" / "model" / "checkpoints" / "logp.onnx"
#: Molecules of each kind, chains and pairs of rings, that it is trained and judged on; every fourth is held out.
_MOLECULES = 10_000
_HELD_OUT = 4
_OPSET = 17

Floats = npt.NDArray[np.float32]


def trained(counts: Floats, labels: Floats) -> onnx.ModelProto:
    """A ridge regression as one matrix product."""
    fitted = Ridge(alpha=1.0).fit(counts.astype(np.float64), labels)
    weights = numpy_helper.from_array(fitted.coef_.astype(np.float32).reshape(-1, 1), "weights")
    bias = numpy_helper.from_array(np.array([fitted.intercept_], dtype=np.float32), "bias")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["counts", "weights", "bias"], ["logp"])],
        "logp",
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["molecules", counts.shape[1]])],
        [helper.make_tensor_value_info("logp", TensorProto.FLOAT, ["molecules", 1])],
        [weights, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main() -> int:
    """Train, write the file, and say how far off it is on what it never saw."""
    package = read_package(HUB / "eos1lgp")
    counts_of = load_module(package).counts_of
    smiles = made_molecules(_MOLECULES) + molecules(_MOLECULES)
    counts = np.stack([counts_of(one) for one in smiles])
    labels = np.array([Crippen.MolLogP(Chem.MolFromSmiles(one)) for one in smiles], dtype=np.float32)  # type: ignore[attr-defined]  # made while it is imported
    held_out = np.arange(len(smiles)) % _HELD_OUT == 0
    model = trained(counts[~held_out], labels[~held_out])
    FILE.parent.mkdir(parents=True, exist_ok=True)
    Path(FILE).write_bytes(model.SerializeToString())
    weights, bias = (numpy_helper.to_array(one) for one in model.graph.initializer)
    off = np.abs(counts[held_out] @ weights[:, 0] + bias[0] - labels[held_out])
    print(f"{FILE.name}: mean error {off.mean():.3f}, largest {off.max():.3f}, on {held_out.sum()} molecules held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
