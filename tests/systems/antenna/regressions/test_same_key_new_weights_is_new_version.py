"""Results of old weights stood under the name of the new: other weights are another version, name or no name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.inferrers.onnx_graphs import INPUT, LABELS, linear
from tests.systems.antenna.trap import DETECT, Trap, images_of

BY_MODEL = ("CLASSIFICATION", "onnx-classifier")
MANIFEST = {"input": INPUT, "output": "logits", "activation": "softmax", "labels": LABELS}


def learn(served: Trap, file: Path, *, scale: float) -> None:
    """Add weights under the one name that the pipeline knows, and let them serve."""
    registry = served.host.app.registry
    added = registry.add("classifier", linear(file, classes=2, scale=scale), manifest=MANIFEST)
    registry.promote(f"classifier@{added.number}", "champion", force=True, by="a test")
    served.host.refresh()


@pytest.mark.slow
def test_same_key_new_weights_is_new_version(
    trap: Callable[..., Trap], pictures: PictureServer, small_night: list[TrapFrame], tmp_path: Path
) -> None:
    """New weights under the old name infer again; what the old said keeps its own version and stays readable."""
    # given
    served = trap()
    images = images_of(small_night[:1], url=pictures.url)
    learn(served, tmp_path / "old.onnx", scale=10.0)
    first = served.run(images, [DETECT, BY_MODEL])
    (old, *_) = served.detections(first, small_night[0].name)

    # when
    learn(served, tmp_path / "new.onnx", scale=3.0)
    second = served.run(images, [DETECT, BY_MODEL])

    # then
    (new, *_) = served.detections(second, small_night[0].name)
    assert new.id == old.id
    assert new.provenance["classify"].version != old.provenance["classify"].version
    assert new.provenance["classify"].model != old.provenance["classify"].model
    assert new.values["classify"] != old.values["classify"]
    said = served.why("detections", old.id, stage="classify").origins
    assert {one.version for one in said} == {
        old.provenance["classify"].version,
        new.provenance["classify"].version,
    }
    assert [one.model for one in said if one.active] == ["classifier@2"]
