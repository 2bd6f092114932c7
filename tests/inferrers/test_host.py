"""The host runs a task's records: digests, decoding, checks, and no record that harms its neighbours."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from limner.domain.digests import digest
from limner.domain.failures import FailureCode
from limner.domain.outputs import AnyOutput, Artifact, Bytes, Number, Text, Vector
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile, Status
from limner.domain.values import decode, encode, value_digest
from limner.errors import InferrerBroken
from limner.inferrers.host import Host
from limner.inferrers.outcomes import WrittenFile
from tests.inferrers.cases import NO_VALUE, codes_of, file_cell, run_files, run_values, runtime, values_of

UserModule = Callable[[str], str]

DOUBLED = """
    def doubled(x: list[int]) -> list[dict]:
        return [{"y": 2 * v} for v in x]
"""


def test_values_are_encoded_and_digested(user_module: UserModule) -> None:
    """A done record carries its encoded value, that value's digest and the digest of what was read."""
    # given
    host = Host(runtime(f"{user_module(DOUBLED)}:doubled"))

    # when
    first, second = run_values(host, 1, 2)

    # then
    assert (first.index, first.status, decode(first.value)) == (0, Status.DONE, {"y": 2})
    assert first.value_digest == value_digest({"y": 2})
    assert first.read_digest == digest([encode(1)])
    assert second.index == 1
    assert second.read_digest != first.read_digest


def test_what_is_no_dictionary_is_wrapped(user_module: UserModule) -> None:
    """A plain output stands under the name `value`."""
    name = user_module("""
        def half(x: float) -> float:
            return x / 2
    """)
    assert values_of(run_values(Host(runtime(f"{name}:half")), 3.0)) == [{"value": 1.5}]


def test_unchanged_records_are_not_inferred(user_module: UserModule) -> None:
    """A record whose inputs have the digest of its stored result is answered without a call."""
    # given
    name = user_module("""
        seen = []
        def noted(x: list[int]) -> list[int]:
            seen.extend(x)
            return [len(seen)] * len(x)
    """)
    host = Host(runtime(f"{name}:noted"))
    before = run_values(host, 1, 2, 3)

    # when
    prior = [before[0].read_digest, b"another digest..", before[2].read_digest]
    ran = host.run({"x": [encode(1), encode(2), encode(3)]}, prior=prior)

    # then
    assert [outcome.status for outcome in ran.outcomes] == [Status.UNCHANGED, Status.DONE, Status.UNCHANGED]
    assert [outcome.index for outcome in ran.outcomes] == [0, 1, 2]
    assert ran.outcomes[0].read_digest == before[0].read_digest
    assert values_of(ran.outcomes) == [None, {"value": 4}, None]


def test_read_digest_counts_every_input_and_how_a_file_is_decoded(user_module: UserModule, tmp_path: Path) -> None:
    """Another value, other bytes or another orientation are another input; another path or limit is not."""
    # given
    name = user_module("""
        from pathlib import Path
        def named(file: Path, x: int) -> int:
            return x
    """)
    one, copy, other = (tmp_path / name for name in ("one.bin", "copy.bin", "other.bin"))
    for path, content in ((one, b"abc"), (copy, b"abc"), (other, b"abd")):
        path.write_bytes(content)

    def read_digest(path: Path, x: int, *, read: FileRead) -> bytes:
        host = Host(runtime(f"{name}:named", reads={"x": None, "file": read}))
        ran = host.run({"x": [encode(x)], "file": [file_cell(path)]}, prior=[b""])
        return ran.outcomes[0].read_digest

    # when
    base = read_digest(one, 1, read=FileRead())

    # then
    assert read_digest(copy, 1, read=FileRead(max_bytes=10, max_pixels=10)) == base
    others = {
        read_digest(other, 1, read=FileRead()),
        read_digest(one, 2, read=FileRead()),
        read_digest(one, 1, read=FileRead(upright=False)),
        read_digest(one, 1, read=FileRead(at_least=224)),
    }
    assert len(others | {base}) == 5


def test_bad_item_spares_batch(user_module: UserModule, tmp_path: Path) -> None:
    """Pictures that cannot be decoded fail alone, each with its code; their neighbours are done."""
    # given
    name = user_module("""
        from PIL import Image
        def width(image: list[Image.Image]) -> list[int]:
            return [picture.width for picture in image]
    """)
    good, html, empty = tmp_path / "good.png", tmp_path / "page.png", tmp_path / "empty.png"
    Image.new("RGB", (7, 5)).save(good)
    html.write_text("<html></html>")
    empty.touch()
    host = Host(runtime(f"{name}:width", reads={"image": FileRead()}))

    # when
    outcomes = run_files(host, good, html, good, empty)

    # then
    assert codes_of(outcomes) == [None, "SOURCE_WRONG_TYPE", None, "SOURCE_TRUNCATED"]
    assert values_of(outcomes) == [{"value": 7}, None, {"value": 7}, None]
    assert outcomes[1].read_digest == b""
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]


def test_exception_in_place_of_an_output_fails_one_record(user_module: UserModule) -> None:
    """An exception object is that record's MODEL_ERROR, with its type and words."""
    # given
    name = user_module("""
        def careful(x: list[int]) -> list[object]:
            return [KeyError("no such key") if v == 2 else v for v in x]
    """)

    # when
    outcomes = run_values(Host(runtime(f"{name}:careful")), 1, 2, 3)

    # then
    assert codes_of(outcomes) == [None, "MODEL_ERROR", None]
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.message == "KeyError: 'no such key'"
    assert outcomes[1].read_digest == digest([encode(2)])


def test_error_may_say_its_code_and_reason(user_module: UserModule) -> None:
    """An error with a failure code and a reason is told as such; codes that the platform keeps are not."""
    # given
    name = user_module("""
        class Refused(ValueError):
            def __init__(self, code, reason):
                super().__init__("no key")
                self.code, self.reason = code, reason

        def keyed(x: str) -> str:
            raise Refused(x, "bad_key")
    """)

    # when
    invalid, cancelled, unknown = run_values(Host(runtime(f"{name}:keyed")), "INPUT_INVALID", "CANCELLED", "E17")

    # then
    assert invalid.failure is not None
    assert (invalid.failure.code, invalid.failure.reason) == (FailureCode.INPUT_INVALID, "bad_key")
    assert invalid.failure.message == "no key"
    assert codes_of([cancelled, unknown]) == ["MODEL_ERROR", "MODEL_ERROR"]


def test_what_a_batch_raises_is_raised_until_a_record_is_alone(user_module: UserModule) -> None:
    """For several records an exception is the caller's to halve; of one record it is the failure."""
    # given
    name = user_module("""
        def batch(x: list[int]) -> list[int]:
            if 2 in x:
                raise ValueError("bad input 2")
            return x
    """)
    host = Host(runtime(f"{name}:batch"))

    # when
    with pytest.raises(ValueError, match="bad input 2"):
        run_values(host, 1, 2, 3)
    (alone,) = run_values(host, 2)

    # then
    assert codes_of([alone]) == ["MODEL_ERROR"]
    assert alone.alone
    assert codes_of(run_values(host, 1, 3)) == [None, None]


def test_wrong_number_of_outputs_is_a_failure_once_alone(user_module: UserModule) -> None:
    """An inferrer that answers too much is isolated like one that raises."""
    # given
    name = user_module("""
        def batch(x: list[int]) -> list[int]:
            return x + x
    """)
    host = Host(runtime(f"{name}:batch"))

    # when / then
    with pytest.raises(InferrerBroken, match="answered 2 inputs with 4 outputs"):
        run_values(host, 1, 2)
    assert codes_of(run_values(host, 1)) == ["OUTPUT_INVALID"]


def test_no_memory_is_raised_even_alone(user_module: UserModule) -> None:
    """A MemoryError says something of the machine, not of the record."""
    # given
    name = user_module("""
        def raised(x: list[int]) -> list[int]:
            raise MemoryError
        def answered(x: list[int]) -> list[object]:
            return [MemoryError()]
    """)

    # when / then
    for which in ("raised", "answered"):
        with pytest.raises(MemoryError):
            run_values(Host(runtime(f"{name}:{which}")), 1)


def test_calls_hold_at_most_a_batch(user_module: UserModule) -> None:
    """More records than a batch are several calls."""
    # given
    name = user_module("""
        def sizes(x: list[int]) -> list[int]:
            return [len(x)] * len(x)
    """)

    # when
    outcomes = run_values(Host(runtime(f"{name}:sizes", batch=2)), 1, 2, 3, 4, 5)

    # then
    assert values_of(outcomes) == [{"value": size} for size in (2, 2, 2, 2, 1)]


@pytest.mark.parametrize(
    "answer",
    [
        "{'size': float('nan')}",
        "{'size': 'large'}",
        "{}",
        "{'size': 1.0, 'colour': 'red'}",
        "{'size': -1.0}",
        "{'size': object()}",
        "5",
    ],
)
def test_output_that_breaks_its_declaration_is_invalid(user_module: UserModule, answer: str) -> None:
    """What a stage did not declare is refused, and its neighbour is done."""
    # given
    name = user_module(f"""
        def sized(x: list[int]) -> list[object]:
            return [{answer} if v else {{"size": 2.0}} for v in x]
    """)
    host = Host(runtime(f"{name}:sized", outputs={"size": Number(above=0)}))

    # when
    outcomes = run_values(host, 1, 0)

    # then
    assert codes_of(outcomes) == ["OUTPUT_INVALID", None]
    assert outcomes[0].value == b""


@pytest.mark.parametrize("answer", ["object()", "{1, 'a'}", "2**80", "{'a': {1: 2, 'b': 3}}", "endless", "Path('x')"])
def test_output_that_cannot_be_stored_is_invalid(user_module: UserModule, answer: str) -> None:
    """An object that has no stored form fails its record in words, undeclared outputs included."""
    # given
    name = user_module(f"""
        from pathlib import Path
        endless = []
        endless.append(endless)
        def odd(x: list[int]) -> list[object]:
            return [{answer} if v else 1 for v in x]
    """)

    # when
    outcomes = run_values(Host(runtime(f"{name}:odd")), 1, 0)

    # then
    assert codes_of(outcomes) == ["OUTPUT_INVALID", None]


def test_output_above_the_limit_is_too_large(user_module: UserModule) -> None:
    """A value larger than allowed is refused with both sizes."""
    # given
    name = user_module("""
        def long(x: int) -> bytes:
            return bytes(x)
    """)
    host = Host(runtime(f"{name}:long"), max_output_bytes=1000)

    # when
    outcomes = run_values(host, 2000, 10)

    # then
    assert codes_of(outcomes) == ["OUTPUT_TOO_LARGE", None]


@pytest.mark.parametrize(
    "answer", ["[0.6, 0.8]", "np.array([0.6, 0.8])", "np.array([0.6, 0.8], dtype='f4')", "array('d', [0.6, 0.8])"]
)
def test_declared_vectors_are_stored_alike(user_module: UserModule, answer: str) -> None:
    """A declared vector is stored as float32 however it was answered, so its digest is the same."""
    # given
    name = user_module(f"""
        import numpy as np
        from array import array
        def vector(x: int) -> dict:
            return {{"vector": {answer}}}
    """)
    host = Host(runtime(f"{name}:vector", outputs={"vector": Vector(length=2, unit=True)}))

    # when
    (outcome,) = run_values(host, 1)

    # then
    assert outcome.value_digest == value_digest({"vector": np.array([0.6, 0.8], dtype=np.float32)})


@pytest.mark.parametrize("answer", ["[3e38 * 10, 1.0]", "[1e300, 1.0]", "[0.0, 0.0]", "['a', 'b']", "None"])
def test_poisoned_vectors_are_refused(user_module: UserModule, answer: str) -> None:
    """Infinite, overflowing, zero and wordy vectors are not stored."""
    name = user_module(f"""
        def vector(x: int) -> dict:
            return {{"vector": {answer}}}
    """)
    host = Host(runtime(f"{name}:vector", outputs={"vector": Vector(length=2, unit=True)}))
    assert codes_of(run_values(host, 1)) == ["OUTPUT_INVALID"]


def test_expand_answers_with_children(user_module: UserModule) -> None:
    """An expand's value is the list of its children's fields, each checked."""
    # given
    name = user_module("""
        CASES = {
            "good": [{"box": 1, "label": "a"}, {"box": 2, "label": "b"}],
            "none": [],
            "lacks": [{"label": "a"}],
            "twice": [{"box": 1, "label": "a"}, {"box": 1, "label": "b"}],
            "wrong": [{"box": 1, "label": 5}],
            "plain": {"box": 1, "label": "a"},
        }
        def boxes(x: str) -> list:
            return CASES[x]
    """)
    outputs: dict[str, AnyOutput] = {"box": Number(whole=True), "label": Text()}
    host = Host(runtime(f"{name}:boxes", kind=StageKind.EXPAND, identity=("box",), outputs=outputs))

    # when
    outcomes = run_values(host, "good", "none", "lacks", "twice", "wrong", "plain")

    # then
    assert codes_of(outcomes) == [None, None, *["OUTPUT_INVALID"] * 4]
    assert values_of(outcomes)[:2] == [[{"box": 1, "label": "a"}, {"box": 2, "label": "b"}], []]
    assert "same identity: box 1" in str(outcomes[3].failure)


def test_written_files_are_handed_back(user_module: UserModule, tmp_path: Path) -> None:
    """A declared artifact is answered as a path; stored is its digest, and the file is reported for upload."""
    # given
    name = user_module("""
        from pathlib import Path
        def drawn(x: str, *, folder: str) -> dict:
            path = Path(folder) / f"{x}.txt"
            if x != "missing":
                path.write_text(x)
            return {"plot": path if x != "text" else str(path), "length": len(x)}
    """)
    outputs: dict[str, AnyOutput] = {"plot": Artifact(), "length": Number()}
    host = Host(runtime(f"{name}:drawn", params={"folder": str(tmp_path)}, outputs=outputs))

    # when
    ran = host.run({"x": [encode(x) for x in ("one", "missing", "text")]}, prior=[b""] * 3)

    # then
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert values_of(ran.outcomes) == [{"plot": sha256, "length": 3}, None, None]
    assert codes_of(ran.outcomes) == [None, "OUTPUT_INVALID", "OUTPUT_INVALID"]
    assert ran.files == [WrittenFile(sha256=sha256, path=tmp_path / "one.txt")]


def test_inputs_arrive_as_annotated(user_module: UserModule, tmp_path: Path) -> None:
    """The same file arrives as path, bytes, text or array, and absent values arrive as None."""
    # given
    name = user_module("""
        from pathlib import Path
        import numpy as np
        def path(file: Path): return file.name if file else None
        def content(file: bytes): return file
        def text(file: str): return file
        def pixels(file: np.ndarray): return None if file is None else [list(file.shape), str(file.dtype)]
        def untyped(file): return file.name if file else None
    """)
    words, picture = tmp_path / "words.txt", tmp_path / "picture.png"
    words.write_text("Grüße", encoding="utf-8")
    Image.new("L", (7, 5)).save(picture)

    def handed(function: str, file: Path) -> list[object]:
        host = Host(runtime(f"{name}:{function}", reads={"file": FileRead()}))
        found = host.run({"file": [file_cell(file), NO_VALUE]}, prior=[b"", b""]).outcomes
        assert codes_of(found) == [None, None]
        return [value["value"] for value in values_of(found)]

    # when / then
    assert handed("path", words) == ["words.txt", None]
    assert handed("untyped", words) == ["words.txt", None]
    assert handed("content", words) == ["Grüße".encode(), None]
    assert handed("text", words) == ["Grüße", None]
    assert handed("pixels", picture) == [[[5, 7, 3], "uint8"], None]


def test_text_in_another_encoding_failed_to_decode(user_module: UserModule, tmp_path: Path) -> None:
    """A file that is wanted as text and is none fails alone."""
    name = user_module("""
        def length(file: list[str]) -> list[int]:
            return [len(text) for text in file]
    """)
    latin, plain = tmp_path / "latin.txt", tmp_path / "plain.txt"
    latin.write_bytes("Grüße".encode("latin-1"))
    plain.write_bytes(b"plain")
    host = Host(runtime(f"{name}:length", reads={"file": FileRead()}))
    assert codes_of(run_files(host, latin, plain, name="file")) == ["DECODE_FAILED", None]


def test_lists_become_arrays_where_arrays_are_wanted(user_module: UserModule) -> None:
    """A vector that stands in a record as a list arrives as an array, a stored array as it is."""
    name = user_module("""
        import numpy as np
        def kind(x: list[np.ndarray]) -> list[str]:
            return [f"{type(v).__name__} {len(v)}" for v in x]
    """)
    found = values_of(run_values(Host(runtime(f"{name}:kind")), [1.0, 2.0], np.zeros(3, dtype=np.float32)))
    assert found == [{"value": "ndarray 2"}, {"value": "ndarray 3"}]


def test_siblings_share_one_decoded_picture(user_module: UserModule, tmp_path: Path) -> None:
    """Records that read the same file are handed the same decoded picture, across calls too."""
    # given
    name = user_module("""
        from PIL import Image
        seen = []
        def number(image: list[Image.Image]) -> list[int]:
            seen.extend(picture for picture in image if not any(picture is one for one in seen))
            return [len(seen)] * len(image)
    """)
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    Image.new("RGB", (4, 4)).save(one)
    Image.new("RGB", (5, 5)).save(other)
    host = Host(runtime(f"{name}:number", reads={"image": FileRead()}, batch=2))

    # when
    found = values_of(run_files(host, one, one, one, other))

    # then
    assert [value["value"] for value in found] == [1, 1, 2, 2]


def test_copy_that_was_missing_is_read_when_it_is_back(user_module: UserModule, tmp_path: Path) -> None:
    """A file that could not be read is tried anew, although its digest is known."""
    # given
    name = user_module("""
        from PIL import Image
        def width(image: list[Image.Image]) -> list[int]:
            return [picture.width for picture in image]
    """)
    path = tmp_path / "picture.png"
    Image.new("RGB", (6, 4)).save(path)
    cell, content = file_cell(path), path.read_bytes()
    host = Host(runtime(f"{name}:width", reads={"image": FileRead()}))

    # when
    path.unlink()
    gone = host.run({"image": [cell]}, prior=[b""]).outcomes
    path.write_bytes(content)
    back = host.run({"image": [cell]}, prior=[b""]).outcomes

    # then
    assert codes_of(gone) == ["SOURCE_UNAVAILABLE"]
    assert values_of(back) == [{"value": 6}]


def test_unreadable_picture_behind_a_path_is_typed(user_module: UserModule, tmp_path: Path) -> None:
    """An inferrer that opens paths itself and hands back Pillow's errors gets the file's own failure."""
    # given
    name = user_module("""
        from pathlib import Path
        from PIL import Image
        def _width(path):
            try:
                with Image.open(path) as picture:
                    picture.load()
                    return picture.width
            except (OSError, Image.DecompressionBombError) as error:
                return error
        def widths(file: list[Path]) -> list[object]:
            return [_width(path) for path in file]
    """)
    good, page, empty, cut, own = (tmp_path / n for n in ("good.png", "page.jpg", "empty.jpg", "cut.png", "own.txt"))
    Image.new("RGB", (9, 9), "teal").save(good)
    page.write_text("<html></html>")
    empty.touch()
    Image.effect_noise((60, 60), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    host = Host(runtime(f"{name}:widths", reads={"file": FileRead()}))

    # when
    outcomes = run_files(host, good, page, empty, cut, name="file")
    gone = host.run({"file": [msgspec.msgpack.encode(LocalFile(path=str(own), sha256="0" * 64))]}, prior=[b""])

    # then
    assert codes_of(outcomes) == [None, "SOURCE_WRONG_TYPE", "SOURCE_TRUNCATED", "SOURCE_TRUNCATED"]
    assert outcomes[1].read_digest == b""
    assert codes_of(gone.outcomes) == ["MODEL_ERROR"]


def test_given_hands_values_through() -> None:
    """`given` answers with what the record brought along, by the names of its inputs."""
    # given
    outputs: dict[str, AnyOutput] = {"vector": Vector(length=2), "code": Bytes(length=1, optional=True)}
    host = Host(runtime("given", reads={"vector": None, "code": None}, params={"source": "old.npz"}, outputs=outputs))

    # when
    columns = {"vector": [encode([1.0, 2.0]), NO_VALUE], "code": [encode(b"a"), NO_VALUE]}
    outcomes = host.run(columns, prior=[b"", b""]).outcomes

    # then
    assert codes_of(outcomes) == [None, "MODEL_ERROR"]
    assert outcomes[0].value_digest == value_digest({"vector": np.array([1, 2], dtype=np.float32), "code": b"a"})


def test_given_hands_a_lone_dictionary_through() -> None:
    """A record's whole earlier result is the value as it stands."""
    host = Host(runtime("given", reads={"result": None}, params={"source": "old.jsonl"}))
    assert values_of(run_values(host, {"a": 1}, name="result")) == [{"a": 1}]
    with pytest.raises(InferrerBroken, match="'source'"):
        Host(runtime("given"))
    with pytest.raises(InferrerBroken, match="image reads a file"):
        Host(runtime("given", reads={"image": FileRead()}, params={"source": "old.jsonl"}))
