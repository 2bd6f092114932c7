"""The host runs a task's records: no record harms its neighbours, and none is inferred in vain."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner.domain.digests import digest
from limner.domain.failures import FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import Status
from limner.domain.values import decode, encode, value_digest
from limner.errors import InferrerBroken
from limner.inferrers.host import Host
from tests.inferrers.cases import codes_of, run_files, run_values, runtime, values_of

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
