"""Codes of vectors, and searching by them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from limner.systems.catalogue.codes import (
    Codes,
    Floats,
    asymmetric_likeness,
    search_codes,
    shared_tokens,
    unpack_codes,
)
from limner.systems.catalogue.codes_trainer import CodesTrainer


@pytest.fixture(scope="module")
def model(mixture: Floats, tmp_path_factory: pytest.TempPathFactory) -> Codes:
    """A model of 16 groups of 16 centres for vectors of 64 numbers."""
    folder = tmp_path_factory.mktemp("codes")
    return Codes(CodesTrainer(folder).train(mixture, seed=1, groups=16, centres=16))


def plain_model(folder: Path, *, groups: int, centres: int, width: int) -> Codes:
    """A model without rotation whose centres are random."""
    path = folder / "plain.npz"
    np.savez(path, centres=np.random.default_rng(0).standard_normal((groups, centres, width)).astype(np.float32))
    return Codes(path)


def test_tokens_and_bytes_say_the_same(model: Codes, mixture: Floats) -> None:
    """A code is one "group-centre" token and one byte per group."""
    # when
    answer = model.infer([mixture[0]])[0]

    # then
    assert isinstance(answer, dict)
    code = answer["code"]
    assert isinstance(code, bytes)
    assert len(code) == 16
    assert answer["tokens"] == [f"{group}-{centre}" for group, centre in enumerate(code)]


def test_more_than_256_centres_take_two_bytes(tmp_path: Path) -> None:
    """Where a byte is too small a group has two, little-endian, and they are read back."""
    # given
    model = plain_model(tmp_path, groups=2, centres=300, width=3)
    vectors = np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32)

    # when
    answers = [answer for answer in model.infer(list(vectors)) if isinstance(answer, dict)]
    packed = [bytes(answer["code"]) for answer in answers]  # type: ignore[call-overload]  # bytes, by contract

    # then
    assert {len(code) for code in packed} == {4}
    assert np.array_equal(unpack_codes(packed, model=model), model.encode(vectors))
    assert model.encode(vectors).max() > 255


def test_code_is_the_nearest_centre(tmp_path: Path) -> None:
    """Each group takes the centre at the least distance."""
    # given
    model = plain_model(tmp_path, groups=4, centres=16, width=3)
    vectors = np.random.default_rng(2).standard_normal((40, 12)).astype(np.float32)

    # when
    distances = ((vectors.reshape(40, 4, 1, 3) - model.centres) ** 2).sum(axis=3)

    # then
    assert np.array_equal(model.encode(vectors), distances.argmin(axis=2))


def test_batch_does_not_move_a_code(model: Codes, mixture: Floats) -> None:
    """A vector has the same code alone and in a batch."""
    assert model.infer(list(mixture[:64])) == [model.infer([vector])[0] for vector in mixture[:64]]


def test_bad_vector_spares_its_batch(model: Codes, mixture: Floats) -> None:
    """A vector of another length or with NaN is an exception in its place."""
    # given
    poisoned = mixture[1].copy()
    poisoned[3] = np.nan

    # when
    answers = model.infer([mixture[0], mixture[1][:10], poisoned, mixture[2]])
    only_bad = model.infer([poisoned])

    # then
    assert isinstance(answers[0], dict)
    assert isinstance(answers[3], dict)
    assert "64 numbers" in str(answers[1])
    assert "not finite" in str(answers[2])
    assert isinstance(only_bad[0], ValueError)


def test_no_pickle_models(tmp_path: Path) -> None:
    """A pickled model, a pickle inside an npz, and what is no archive at all are refused and never executed."""
    # given
    trap = tmp_path / "executed"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(trap),)  # type: ignore[return-value]  # what pickle takes

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "inside.npz", centres=np.array([Trap()], dtype=object))
    (tmp_path / "text.npz").write_text("no model")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04" + bytes(40))
    np.save(tmp_path / "single.npy", np.zeros((2, 2, 2)))

    # then
    for name in ("model.pkl", "inside.npz", "text.npz", "cut.npz", "single.npy"):
        with pytest.raises(ValueError, match="never read"):
            Codes(tmp_path / name)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"other": np.zeros(3)}, "needs centres"),
        ({"centres": np.zeros((2, 3))}, "needs centres"),
        ({"centres": np.full((2, 2, 2), np.nan)}, "needs centres"),
        ({"centres": np.zeros((2, 2, 2)), "rotation": np.eye(3)}, "rotation must be 4 × 4"),
    ],
)
def test_broken_model_is_refused_in_words(
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]], words: str, tmp_path: Path
) -> None:
    """A file that is an npz but no codes model says what it lacks."""
    # given
    np.savez(tmp_path / "broken.npz", allow_pickle=False, **arrays)

    # then
    with pytest.raises(ValueError, match=words):
        Codes(tmp_path / "broken.npz")


def test_asymmetric_likeness_is_minus_the_distance(tmp_path: Path) -> None:
    """The score of a code is minus the squared distance to the vector that the code stands for."""
    # given
    model = plain_model(tmp_path, groups=3, centres=8, width=2)
    query = np.random.default_rng(3).standard_normal(6).astype(np.float32)
    codes = np.random.default_rng(4).integers(0, 8, (20, 3)).astype(np.uint16)

    # when
    stands_for = model.centres[np.arange(3), codes].reshape(20, 6)

    # then
    assert asymmetric_likeness(query, codes, model=model) == pytest.approx(-((stands_for - query) ** 2).sum(axis=1))


def test_rescored_search_is_exact_at_the_top(model: Codes, mixture: Floats) -> None:
    """With exact vectors at hand the best rows come in exact order with exact scores; without, by code alone."""
    # given
    codes = model.encode(mixture)

    # when
    found = search_codes(mixture[7], codes, model=model, vectors_of=lambda rows: mixture[rows], n=5)
    by_code = search_codes(mixture[7], codes, model=model, n=5)

    # then
    assert [row for row, _ in found] == list(np.argsort(-(mixture @ mixture[7]), kind="stable")[:5])
    assert found[0][1] == pytest.approx(1, abs=1e-6)
    assert len(by_code) == 5
    assert all(score <= 0 for _, score in by_code)


def test_equal_scores_come_in_order_of_rows(model: Codes, mixture: Floats) -> None:
    """Copies of one vector are answered by row, so paging is stable."""
    # given
    copies = np.repeat(mixture[:1], 30, axis=0)

    # when
    found = search_codes(mixture[0], model.encode(copies), model=model, vectors_of=lambda rows: copies[rows], n=12)

    # then
    assert [row for row, _ in found] == list(range(12))


def test_shared_tokens_are_counted(model: Codes, mixture: Floats) -> None:
    """A vector shares all its tokens with itself and fewer with others."""
    # when
    shared = shared_tokens(mixture[0], model.encode(mixture), model=model)

    # then
    assert shared[0] == 16
    assert shared.min() < 8


def test_codes_of_another_model_are_refused(model: Codes) -> None:
    """Stored codes of another length are named, not misread."""
    with pytest.raises(ValueError, match="has 16 bytes"):
        unpack_codes([b"too short"], model=model)


@pytest.mark.real_data
def test_legacy_model_is_understood(shared_data: Path) -> None:
    """The original's test model is read, and gives every real vector the one code that it is known for."""
    # given
    folder = shared_data / "catalogue"
    vectors = np.load(folder / "real_image_vectors.npz")["features"]
    expected = json.loads((folder / "expected.json").read_text())["codes_legacy"]["every_record"]

    # when
    answers = Codes(folder / "lsh_test_model.npz").infer(list(vectors))

    # then
    assert [answer["tokens"] for answer in answers if isinstance(answer, dict)] == [expected] * 9


@pytest.mark.real_data
def test_s1_similar_order_of_the_original(shared_data: Path) -> None:
    """Real images come in the original's order of likeness, exactly and by codes with rescoring."""
    # given
    folder = shared_data / "catalogue"
    stored = np.load(folder / "real_image_vectors.npz")
    names, vectors = [str(name) for name in stored["fixture"]], stored["features"]
    case = json.loads((folder / "expected.json").read_text())["similar"]
    query = vectors[names.index(case["image"])]
    model = Codes(folder / "lsh_test_model.npz")

    # when
    exact = [names[at] for at in np.argsort(-(vectors @ query))]
    rescored = search_codes(query, model.encode(vectors), model=model, vectors_of=lambda rows: vectors[rows])

    # then
    assert [name for name in exact if name != case["image"]][: case["n"]] == case["expected_order"]
    assert [names[row] for row, _ in rescored if names[row] != case["image"]][: case["n"]] == case["expected_order"]
