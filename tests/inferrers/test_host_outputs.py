"""What inferrers answer is checked, encoded and bounded, record by record."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limner.domain.outputs import AnyOutput, Artifact, Bytes, Number, Text, Vector
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.values import encode, value_digest
from limner.errors import InferrerBroken
from limner.inferrers.host import Host
from tests.inferrers.cases import NO_VALUE, codes_of, run_values, runtime, values_of

UserModule = Callable[[str], str]


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
    host = Host(runtime(f"{name}:long"), max_value_bytes=1000)

    # when
    outcomes = run_values(host, 2000, 10)

    # then
    assert codes_of(outcomes) == ["OUTPUT_TOO_LARGE", None]
    told = str(outcomes[0].failure)
    assert "1,000 are allowed (max_value_bytes)" in told
    assert "Artifact" in told


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


MAKER = """
    import tempfile
    from pathlib import Path

    import numpy as np

    def drawn(x: str) -> dict:
        path = Path(tempfile.mkdtemp(dir=FOLDER)) / "plot.txt"
        path.write_text(x)
        answers = {
            "path": path,
            "bytes": x.encode(),
            "view": memoryview(x.encode()),
            "array": np.arange(4, dtype="f4"),
            "none": None,
            "missing": path.with_name("missing"),
            "folder": path.parent,
            "empty": b"",
            "text": str(path),
            "forged": {"sha256": "0" * 64, "bytes": 3, "kind": "text/plain"},
            "objects": np.array([object()]),
            "infinite": np.array([1.0, np.inf]),
            "large": b"x" * 1001,
            "undeclared": b"x",
        }
        return {"plot": answers[x], "length": len(x)} | ({"more": 1} if x == "undeclared" else {})
"""


@pytest.fixture
def drawn(user_module: UserModule, tmp_path: Path) -> Host:
    """A host of an inferrer that answers with files; its scratch folder is `tmp_path / "scratch"`."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = user_module(MAKER.replace("FOLDER", repr(str(scratch))))
    outputs: dict[str, AnyOutput] = {
        "plot": Artifact(kind="text/plain", max_bytes=1000, optional=True),
        "length": Number(),
    }
    return Host(runtime(f"{name}:drawn", outputs=outputs), scratch=scratch)


@pytest.mark.parametrize(("answer", "content"), [("path", b"path"), ("bytes", b"bytes"), ("view", b"view")])
def test_files_are_handed_back(drawn: Host, answer: str, content: bytes) -> None:
    """A path and bytes are stored as a reference, and the file, under its digest, is reported for upload."""
    # when
    ran = drawn.run({"x": [encode("none"), encode(answer)]}, prior=[b"", b""])

    # then
    sha256 = hashlib.sha256(content).hexdigest()
    reference = {"sha256": sha256, "bytes": len(content), "kind": "text/plain"}
    assert values_of(ran.outcomes)[1] == {"plot": reference, "length": len(answer)}
    assert ran.outcomes[1].value_digest == value_digest({"plot": reference, "length": len(answer)})
    [file] = ran.files
    assert (file.sha256, file.index) == (sha256, 1)
    assert file.path.read_bytes() == content
    assert answer == "path" or file.path.name == sha256


def test_an_array_is_handed_back_as_npy(drawn: Host) -> None:
    """NumPy reads the file again, and equal arrays have equal digests."""
    ran = drawn.run({"x": [encode("array"), encode("array")]}, prior=[b"", b""])

    one, other = ran.files
    assert one.sha256 == other.sha256
    assert np.array_equal(np.load(one.path, allow_pickle=False), np.arange(4, dtype="f4"))


def test_an_optional_file_may_be_absent(drawn: Host) -> None:
    """None is stored as it stands."""
    [outcome] = run_values(drawn, "none")

    assert values_of([outcome]) == [{"plot": None, "length": 4}]


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ("missing", "OUTPUT_INVALID", "cannot be read"),
        ("folder", "OUTPUT_INVALID", "cannot be read"),
        ("empty", "OUTPUT_INVALID", "without bytes"),
        ("text", "OUTPUT_INVALID", "is a str and no file; answer with bytes, a Path or a NumPy array"),
        ("forged", "OUTPUT_INVALID", "is a dict and no file"),
        ("objects", "OUTPUT_INVALID", "array of objects"),
        ("infinite", "OUTPUT_INVALID", "not finite"),
        ("large", "OUTPUT_TOO_LARGE", "plot has 1,001 bytes, and the stage allows 1,000"),
        ("undeclared", "OUTPUT_INVALID", "names more"),
    ],
)
def test_what_is_no_file_is_refused(drawn: Host, tmp_path: Path, answer: str, code: str, told: str) -> None:
    """The record fails in words, its neighbour is done, and nothing of it is uploaded or written."""
    ran = drawn.run({"x": [encode(answer), encode("bytes")]}, prior=[b"", b""])

    assert codes_of(ran.outcomes) == [code, None]
    assert told in str(ran.outcomes[0].failure)
    assert [file.index for file in ran.files] == [1]
    assert [path.name for path in (tmp_path / "scratch").iterdir() if path.is_file()] == [ran.files[0].sha256]


def test_a_failed_record_leaves_no_temporary_file(user_module: UserModule, tmp_path: Path) -> None:
    """What it wrote among the temporary files is removed; what it wrote elsewhere is the user's."""
    # given
    scratch, elsewhere = tmp_path / "scratch", tmp_path / "elsewhere"
    scratch.mkdir()
    elsewhere.mkdir()
    name = user_module(f"""
        from pathlib import Path
        def drawn(x: int) -> dict:
            path = Path([{str(scratch)!r}, {str(elsewhere)!r}][x]) / f"{{x}}.txt"
            path.write_text("plot")
            return {{"plot": path, "length": "long"}}
    """)
    outputs: dict[str, AnyOutput] = {"plot": Artifact(), "length": Number()}

    # when
    outcomes = run_values(Host(runtime(f"{name}:drawn", outputs=outputs), scratch=scratch), 0, 1)

    # then
    assert codes_of(outcomes) == ["OUTPUT_INVALID", "OUTPUT_INVALID"]
    assert list(scratch.iterdir()) == []
    assert (elsewhere / "1.txt").exists()


def test_two_records_cannot_share_a_file(user_module: UserModule, tmp_path: Path) -> None:
    """A file that was written twice holds what came last, so both records fail instead of one being wrong."""
    # given
    name = user_module(f"""
        from pathlib import Path
        def drawn(x: int) -> dict:
            path = Path({str(tmp_path)!r}) / ("same.txt" if x < 3 else "own.txt")
            path.write_text(str(x))
            return {{"plot": path}}
    """)
    host = Host(runtime(f"{name}:drawn", outputs={"plot": Artifact()}))

    # when
    ran = host.run({"x": [encode(x) for x in (1, 2, 3)]}, prior=[b""] * 3)

    # then
    assert codes_of(ran.outcomes) == ["OUTPUT_INVALID", "OUTPUT_INVALID", None]
    assert "one file for each record" in str(ran.outcomes[0].failure)
    assert [file.index for file in ran.files] == [2]


def test_records_may_share_a_file_that_is_declared_so(user_module: UserModule, tmp_path: Path) -> None:
    """Each record of a call names the one file, which is read once; one that fails takes it from no neighbour."""
    # given
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = user_module(f"""
        from pathlib import Path
        def tabled(x: list[int]) -> list[dict]:
            path = Path({str(scratch)!r}) / "table.txt"
            path.write_text("rows")
            return [{{"table": path, "row": row if row < 2 else "two"}} for row in range(len(x))]
    """)
    outputs: dict[str, AnyOutput] = {"table": Artifact(kind="text/plain", shared=True), "row": Number(whole=True)}
    host = Host(runtime(f"{name}:tabled", outputs=outputs), scratch=scratch)

    # when
    ran = host.run({"x": [encode(x) for x in (1, 2, 3)]}, prior=[b""] * 3)

    # then
    assert codes_of(ran.outcomes) == [None, None, "OUTPUT_INVALID"]
    reference = {"sha256": hashlib.sha256(b"rows").hexdigest(), "bytes": 4, "kind": "text/plain"}
    assert values_of(ran.outcomes[:2]) == [{"table": reference, "row": 0}, {"table": reference, "row": 1}]
    assert {(file.index, file.path.read_text()) for file in ran.files} == {(0, "rows"), (1, "rows")}


def test_a_host_without_a_scratch_folder_removes_its_own(user_module: UserModule) -> None:
    """Files of a host that stands alone last until it is closed."""
    name = user_module("""
        def drawn(x: int) -> dict:
            return {"plot": b"drawn"}
    """)
    host = Host(runtime(f"{name}:drawn", outputs={"plot": Artifact()}))

    [file] = host.run({"x": [encode(1)]}, prior=[b""]).files
    assert file.path.read_bytes() == b"drawn"
    host.close()

    assert not file.path.parent.exists()


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


def test_what_is_no_dictionary_is_wrapped(user_module: UserModule) -> None:
    """A plain output stands under the name `value`."""
    name = user_module("""
        def half(x: float) -> float:
            return x / 2
    """)
    assert values_of(run_values(Host(runtime(f"{name}:half")), 3.0)) == [{"value": 1.5}]
