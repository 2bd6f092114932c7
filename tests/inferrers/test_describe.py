"""What an inferrer says of itself, before and after it is loaded."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from limner.domain.digests import digest
from limner.domain.versions import Description
from limner.inferrers.connect import describe, load_inferrer
from tests.inferrers.cases import runtime

UserModule = Callable[[str], str]


def test_declared_version_and_environment(user_module: UserModule) -> None:
    """A class or function names its version and the packages that matter."""
    # given
    name = user_module("""
        class Palette:
            version = "3"
            environment = ("pillow", "numpy")

            def __init__(self, model):
                raise RuntimeError("describing must not load")

            def infer(self, x: int) -> int:
                return x

        def plain(x: int) -> int:
            return x

        plain.version = 7
    """)

    # when
    palette, plain = describe(f"{name}:Palette"), describe(f"{name}:plain")

    # then
    assert palette == Description(code="3", environment={"numpy": version("numpy"), "pillow": version("pillow")})
    assert plain == Description(code="7")


def test_source_file_stands_for_a_missing_version(user_module: UserModule, tmp_path: Path) -> None:
    """Without a version the digest of the source file is it, and loading says the same."""
    # given
    name = user_module("def plain(x: int) -> int:\n    return x\n")

    # when
    found = describe(f"{name}:plain")

    # then
    assert found.code == f"source:{digest((tmp_path / f'{name}.py').read_bytes()).hex()}"
    assert load_inferrer(runtime(f"{name}:plain"), model_path=None).describe() == found


def test_loaded_code_keeps_its_digest(user_module: UserModule, tmp_path: Path) -> None:
    """A source file that is edited after loading does not change what the loaded inferrer says it is."""
    # given
    name = user_module("def plain(x: int) -> int:\n    return x\n")
    inferrer = load_inferrer(runtime(f"{name}:plain"), model_path=None)
    before = inferrer.describe()

    # when
    (tmp_path / f"{name}.py").write_text("def plain(x: int) -> int:\n    return x + 1\n")

    # then
    assert inferrer.describe() == before
    assert describe(f"{name}:plain") != before


def test_an_environment_may_depend_on_the_parameters(user_module: UserModule) -> None:
    """What can be called is asked with the stage's parameters, before and after loading; what it answers is checked."""
    # given
    name = user_module("""
        class Packaged:
            version = "1"

            def __init__(self, pins):
                pass

            @staticmethod
            def environment(pins):
                return {pin: "2.0" for pin in pins} if pins else 5

            def infer(self, x: int) -> int:
                return x
    """)

    # when
    found = describe(f"{name}:Packaged", params={"pins": ["rdkit"]})
    loaded = load_inferrer(runtime(f"{name}:Packaged", params={"pins": ["rdkit"]}), model_path=None).describe()

    # then
    assert found == loaded == Description(code="1", environment={"rdkit": "2.0"})
    assert "versions by name" in (describe(f"{name}:Packaged", params={"pins": []}).problem or "")
    assert "cannot say its environment" in (describe(f"{name}:Packaged").problem or "")


def test_problems_are_told_not_raised(user_module: UserModule) -> None:
    """What cannot be described has its problem in words."""
    # given
    name = user_module("""
        def lost(x: int) -> int:
            return x

        lost.environment = ("no-such-package-here",)
        wrong = lambda x: x
        wrong.environment = "numpy"
    """)

    # when / then
    assert "no-such-package-here matters, but it is not installed" in (describe(f"{name}:lost").problem or "")
    assert "is a tuple of names" in (describe(f"{name}:wrong").problem or "")
    assert "has no Missing" in (describe(f"{name}:Missing").problem or "")
    assert "neither a version nor a source file" in (describe("math:sqrt").problem or "")


def test_built_in_inferrers_describe_themselves() -> None:
    """ONNX and given have a code of their own; given needs to name its source."""
    assert describe("onnx").code
    assert describe("given", params={"source": "legacy.jsonl"}).problem is None
    assert "'source'" in (describe("given").problem or "")
