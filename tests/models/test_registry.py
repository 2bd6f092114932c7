"""Models are added once, found by reference, checked, and shown with all that is known of them."""

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from limner.artifacts.folder import FolderArtifacts
from limner.clock import MovedClock
from limner.errors import ModelRefused, NotFound, UsageError
from limner.inferrers.onnx_files import licence_of
from limner.models.registry import Registry
from tests.inferrers.onnx_models import picture_model
from tests.models.cases import array_file


def test_the_first_version_of_a_name_becomes_its_champion(
    registry: Registry, artifacts: FolderArtifacts, clock: MovedClock, tmp_path: Path
) -> None:
    """A model that was just added serves; the file is an artifact, and everything said about it is kept."""
    file = array_file(tmp_path / "codes.npz")

    added = registry.add(
        "codes",
        file,
        manifest={"threshold": 0.5},
        licence="MIT",
        origin={"seed": 1},
        metrics={"recall": 0.99},
        by="maria",
    )

    card = registry.show("codes")
    assert card.version == added
    assert (added.number, added.filename, added.created) == (1, "codes.npz", clock.now())
    assert dict(added.manifest) == {"threshold": 0.5, "licence": "MIT"}
    assert (added.licence, added.origin, added.metrics) == ("MIT", {"seed": 1}, {"recall": 0.99})
    assert artifacts.path(added.sha256).read_bytes() == file.read_bytes()
    assert card.aliases == ("champion",)
    assert [(move.old, move.new, move.by) for move in card.moves] == [(None, 1, "maria")]


def test_a_later_version_leaves_the_champion_alone(registry: Registry, tmp_path: Path) -> None:
    """Only a promotion moves the alias of what serves."""
    registry.add("codes", array_file(tmp_path / "one.npz", value=1))

    second = registry.add("codes", array_file(tmp_path / "two.npz", value=2))

    assert second.number == 2
    assert registry.find("codes@champion").number == 1
    assert registry.find("codes@2") == second


def test_a_first_version_may_be_added_without_serving(registry: Registry, tmp_path: Path) -> None:
    """Who judges before anything serves says so."""
    registry.add("codes", array_file(tmp_path / "one.npz"), as_champion=False)

    assert registry.champion("codes") is None
    with pytest.raises(NotFound, match=r"no codes@champion; there is: codes@1"):
        registry.find("codes")


def test_the_same_bytes_and_manifest_are_the_same_version(registry: Registry, tmp_path: Path) -> None:
    """Adding again gives the version there is; another manifest is another version, since results depend on it."""
    first = registry.add("codes", array_file(tmp_path / "one.npz"), manifest={"a": 1, "b": 2}, origin={"seed": 1})

    again = registry.add("codes", array_file(tmp_path / "copy.npz"), manifest={"b": 2, "a": 1}, origin={"seed": 2})
    other = registry.add("codes", array_file(tmp_path / "one.npz"), manifest={"a": 1, "b": 3})
    elsewhere = registry.add("others", array_file(tmp_path / "one.npz"), manifest={"a": 1, "b": 2})

    assert again == first
    assert other.number == 2
    assert other.sha256 == first.sha256
    assert (elsewhere.name, elsewhere.number) == ("others", 1)


def test_adding_the_same_file_at_once_gives_one_version(registry: Registry, tmp_path: Path) -> None:
    """Eight who add together agree on one number."""
    file = array_file(tmp_path / "one.npz")
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(registry.add("codes", file).number)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert numbers == [1] * 8
    assert len(registry.listing("codes")) == 1


def test_preprocessing_and_licence_are_written_into_a_copy(registry: Registry, tmp_path: Path) -> None:
    """The digest covers how pictures are prepared; the user's own file stays as it is."""
    file = picture_model(tmp_path / "model.onnx", size=224)
    before = file.read_bytes()

    added = registry.add("features", file, preprocess="imagenet224-squash", licence="CC0-1.0")
    again = registry.add("features", file, preprocess="imagenet224-squash", licence="CC0-1.0")
    other = registry.add("features", file, preprocess="imagenet224-crop", licence="CC0-1.0")

    assert file.read_bytes() == before
    with registry.file(added) as stored:
        metadata = {one.key: one.value for one in onnx.load(str(stored)).metadata_props}
        assert '"squash"' in metadata["limner.input"]
        assert licence_of(stored) == "CC0-1.0"
    assert again == added
    assert other.sha256 != added.sha256


def test_the_licence_in_a_file_is_the_licence_of_its_version(registry: Registry, tmp_path: Path) -> None:
    """An ONNX file that names its licence need not be told it again; preprocessing alone invents none."""
    file = picture_model(tmp_path / "model.onnx", size=224)
    named = registry.add("named", file, preprocess="imagenet224-squash", licence="CC0-1.0")
    unnamed = registry.add("unnamed", file, preprocess="imagenet224-squash")

    with registry.file(named) as stored:
        again = registry.add("again", stored)

    assert again.licence == "CC0-1.0"
    assert unnamed.licence is None


def test_preprocessing_that_does_not_fit_is_refused(registry: Registry, tmp_path: Path) -> None:
    """The shape that is prepared must be the one that the model takes; the sentence names both."""
    file = picture_model(tmp_path / "model.onnx", size=96)

    with pytest.raises(ModelRefused, match=r"224.*96"):
        registry.add("features", file, preprocess="imagenet224-squash", licence="MIT")
    with pytest.raises(UsageError, match="presets are"):
        registry.add("features", file, preprocess="no-such-preset", licence="MIT")
    with pytest.raises(UsageError, match="ONNX files only"):
        registry.add("codes", array_file(tmp_path / "a.npz"), preprocess="imagenet224-squash")


@pytest.mark.parametrize("name", ["", "Codes", "codes@1", "a/b", "../x", "two words"])
def test_a_name_is_one_that_a_reference_can_hold(name: str, registry: Registry, tmp_path: Path) -> None:
    """Names stand in references, addresses and on the command line."""
    with pytest.raises(UsageError, match="no name of a model"):
        registry.add(name, array_file(tmp_path / "one.npz"))


def test_a_file_that_is_not_there_is_named(registry: Registry, tmp_path: Path) -> None:
    """A wrong path is the caller's to mend."""
    with pytest.raises(NotFound, match=r"absent\.npz"):
        registry.add("codes", tmp_path / "absent.npz")


def test_an_unknown_reference_is_answered_with_what_there_is(registry: Registry, tmp_path: Path) -> None:
    """Nobody has to guess names and numbers."""
    with pytest.raises(NotFound, match="none was added yet"):
        registry.show("codes@1")
    registry.add("codes", array_file(tmp_path / "one.npz"))

    with pytest.raises(NotFound, match=r"no codes@7; there is: codes@1, codes@champion"):
        registry.show("codes@7")
    with pytest.raises(NotFound, match="no model features; there is: codes"):
        registry.show("features")


def test_a_listing_names_aliases_and_hides_what_is_private(registry: Registry, tmp_path: Path) -> None:
    """Who may not see private models is shown the public ones alone."""
    registry.add("codes", array_file(tmp_path / "one.npz", value=1), licence="MIT")
    registry.add("codes", array_file(tmp_path / "two.npz", value=2))
    registry.add("features", array_file(tmp_path / "two.npz", value=3))
    registry.publish("codes@1")

    everything = [(e.version.name, e.version.number, e.aliases) for e in registry.listing()]
    public = [(e.version.name, e.version.number) for e in registry.listing(public_only=True)]

    assert everything == [("codes", 1, ("champion",)), ("codes", 2, ()), ("features", 1, ("champion",))]
    assert public == [("codes", 1)]
    assert len(registry.listing("codes")) == 2


def test_only_a_model_with_a_licence_is_published(registry: Registry, tmp_path: Path) -> None:
    """Nobody may use what is fetched without a licence; one added with it is another version, which may go out."""
    file = array_file(tmp_path / "one.npz")
    registry.add("codes", file)
    with pytest.raises(ModelRefused, match=r"codes@1 names no licence.*--licence"):
        registry.publish("codes@1")
    with pytest.raises(ModelRefused, match="no licence"):
        registry.add("codes", file, visibility="public")

    licensed = registry.add("codes", file, licence="MIT")
    public = registry.publish("codes@2")

    assert (licensed.number, licensed.visibility) == (2, "private")
    assert public.visibility == "public"
    assert registry.find("codes@2") == public
    assert registry.find("codes@1").visibility == "private"


def test_adding_again_as_public_publishes(registry: Registry, tmp_path: Path) -> None:
    """What is asked for is done, also where the version is there already; and what is public stays so."""
    file = array_file(tmp_path / "one.npz")
    registry.add("codes", file, licence="MIT")

    public = registry.add("codes", file, licence="MIT", visibility="public")
    again = registry.add("codes", file, licence="MIT")

    assert (public.number, public.visibility) == (1, "public")
    assert again.visibility == "public"
    with pytest.raises(UsageError, match="private or public"):
        registry.add("codes", file, visibility="secret")


def test_a_check_finds_a_file_that_is_gone_or_changed(
    registry: Registry, artifacts: FolderArtifacts, tmp_path: Path
) -> None:
    """The artifact must be there, have its digest and pass its trial; what is wrong is a sentence."""
    version = registry.add("codes", array_file(tmp_path / "one.npz"))
    whole = registry.check("codes")

    stored = artifacts.path(version.sha256)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    changed = registry.check("codes")
    artifacts.delete(version.sha256)
    gone = registry.check("codes")

    assert whole.problems == ()
    assert "has digest" not in " ".join(whole.warnings)
    assert "have digest" in changed.problems[0]
    assert "no artifact" in gone.problems[0]


def test_a_file_is_lent_under_the_name_that_it_had(registry: Registry, tmp_path: Path) -> None:
    """Loaders that go by a file's ending find it, although artifacts are named by digest."""
    version = registry.add("codes", array_file(tmp_path / "one.npz", value=4))

    with registry.file(version) as file:
        name, centres = file.name, np.load(file)["centres"]

    assert name == "one.npz"
    assert centres[0, 0] == 4
    assert not file.exists()
