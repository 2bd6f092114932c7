"""Plain Python inferrers: annotations decide what arrives, and each record's exception stays its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limner.domain.reads import FileRead
from limner.errors import InferrerBroken
from limner.inferrers.base import Inferrer, OutputsMiscounted, Want
from limner.inferrers.connect import load_inferrer
from tests.inferrers.cases import model_ref, runtime

UserModule = Callable[[str], str]
ONE_IMAGE: dict[str, FileRead | None] = {"image": FileRead()}


def loaded(
    infer: str, *, reads: dict[str, FileRead | None] | None = None, params: dict[str, object] | None = None
) -> Inferrer:
    """The inferrer without a model."""
    return load_inferrer(runtime(infer, reads=reads, params=params), model_path=None)


@pytest.mark.parametrize(
    ("annotation", "want"),
    [
        ("Image.Image", Want.PICTURE),
        ("Image", Want.PICTURE),
        ("PIL.Image.Image", Want.PICTURE),
        ("Image.Image | None", Want.PICTURE),
        ("Optional[Image.Image]", Want.PICTURE),
        ("Path", Want.PATH),
        ("pathlib.Path", Want.PATH),
        ("bytes", Want.BYTES),
        ("str", Want.TEXT),
        ("np.ndarray", Want.ARRAY),
        ("npt.NDArray[np.float32]", Want.ARRAY),
        ("'Path'", Want.PATH),
        ("int", Want.VALUE),
        ("Sequence[float]", Want.VALUE),
        ("dict[str, object]", Want.VALUE),
    ],
)
@pytest.mark.parametrize("heading", ["", "from __future__ import annotations", "TYPE_CHECKING"])
def test_annotations_are_understood(user_module: UserModule, annotation: str, want: Want, heading: str) -> None:
    """An annotation means the same evaluated, as text, and where its imports are for type checkers only."""
    # given
    imports = [
        "import pathlib",
        "from collections.abc import Sequence",
        "from pathlib import Path",
        "from typing import Optional",
        "import numpy as np",
        "import numpy.typing as npt",
        "import PIL.Image",
        "from PIL import Image",
    ]
    if heading == "TYPE_CHECKING":
        lines = ["from __future__ import annotations", "from typing import TYPE_CHECKING", "if TYPE_CHECKING:"]
        lines += [f"    {line}" for line in imports]
    else:
        lines = [heading, *imports]
    lines += [f"def one(image: {annotation}):", "    return 1"]
    lines += [f"def many(image: list[{annotation}]):", "    return [1]"]
    name = user_module("\n".join(lines))

    # when
    one, many = (loaded(f"{name}:{which}", reads=ONE_IMAGE) for which in ("one", "many"))

    # then
    assert one.wants() == many.wants() == {"image": want}


def test_list_is_one_call_for_the_batch(user_module: UserModule) -> None:
    """With lists, the inferrer is called once, with equally long lists."""
    # given
    name = user_module("""
        class Pairs:
            calls = 0

            def infer(self, x: list[int], y: list[int]) -> list[dict]:
                self.calls += 1
                return [{"sum": a + b, "calls": self.calls} for a, b in zip(x, y)]
    """)
    inferrer = loaded(f"{name}:Pairs", reads={"x": None, "y": None})

    # when
    outputs = inferrer.infer({"x": [1, 2, 3], "y": [10, 20, 30]})

    # then
    assert outputs == [{"sum": 11, "calls": 1}, {"sum": 22, "calls": 1}, {"sum": 33, "calls": 1}]


def test_function_is_called_once_a_record(user_module: UserModule) -> None:
    """Without lists each record is a call, and what one raises stands in its place."""
    # given
    name = user_module("""
        def inverse(x: float) -> float:
            return 1 / x
    """)

    # when
    outputs = loaded(f"{name}:inverse").infer({"x": [2, 0, 4]})

    # then
    assert outputs[0] == 0.5
    assert isinstance(outputs[1], ZeroDivisionError)
    assert outputs[2] == 0.25


def test_no_memory_is_not_a_records_fault(user_module: UserModule) -> None:
    """A MemoryError of one call is raised on."""
    name = user_module("""
        def greedy(x: int) -> int:
            raise MemoryError
    """)
    with pytest.raises(MemoryError):
        loaded(f"{name}:greedy").infer({"x": [1]})


@pytest.mark.parametrize("answer", ["[1]", "[1, 2, 3]", "{'a': 1, 'b': 2}", "'ab'", "7", "None"])
def test_wrong_number_of_outputs_is_told(user_module: UserModule, answer: str) -> None:
    """Two inputs are answered by two outputs, and nothing else is taken for them."""
    name = user_module(f"""
        def batch(x: list[int]) -> list[int]:
            return {answer}
    """)
    with pytest.raises(OutputsMiscounted, match="answered 2 inputs with"):
        loaded(f"{name}:batch").infer({"x": [1, 2]})


def test_array_and_generator_are_outputs(user_module: UserModule) -> None:
    """A NumPy array's rows and a generator's items are outputs like a list's."""
    # given
    name = user_module("""
        import numpy as np
        def rows(x: list[int]):
            return np.array([[v, v] for v in x])
        def items(x: list[int]):
            yield from x
    """)

    # when
    rows = loaded(f"{name}:rows").infer({"x": [1, 2]})
    items = loaded(f"{name}:items").infer({"x": [1, 2]})

    # then
    assert np.array_equal(np.array(rows), [[1, 1], [2, 2]])
    assert items == [1, 2]


def test_what_a_batch_raises_is_raised_on(user_module: UserModule) -> None:
    """A batch call that raises blames nobody yet; its caller halves."""
    name = user_module("""
        def batch(x: list[int]) -> list[int]:
            raise ValueError("one of them is bad")
    """)
    with pytest.raises(ValueError, match="one of them is bad"):
        loaded(f"{name}:batch").infer({"x": [1, 2]})


def test_constructor_is_given_what_it_names(user_module: UserModule, tmp_path: Path) -> None:
    """Model path, manifest, device and parameters come by name, those only that the constructor takes."""
    # given
    model = tmp_path / "scale.txt"
    model.write_text("3")
    name = user_module("""
        from pathlib import Path

        class Scaled:
            def __init__(self, model: Path, manifest: dict, device: str = "cpu", *, shift: int = 0):
                self.scale = int(model.read_text())
                self.rest = [manifest["threshold"], device, shift]

            def infer(self, x: list[int]) -> list[object]:
                return [[self.scale * v, *self.rest] for v in x]
    """)
    wanted = runtime(f"{name}:Scaled", params={"shift": 5}, model=model_ref(threshold=0.5))

    # when
    inferrer = load_inferrer(wanted, model_path=model, device="cuda:1")

    # then
    assert inferrer.infer({"x": [2]}) == [[6, 0.5, "cuda:1", 5]]


def test_parameters_of_a_function_are_keywords(user_module: UserModule) -> None:
    """A function's other parameters are set by the stage."""
    name = user_module("""
        def shifted(x: int, *, by: int) -> int:
            return x + by
    """)
    assert loaded(f"{name}:shifted", params={"by": 4}).infer({"x": [1]}) == [5]


def test_any_inputs_are_taken_by_keywords(user_module: UserModule) -> None:
    """An inferrer with ** takes whatever its stage reads."""
    name = user_module("""
        def total(**columns: list[int]) -> list[int]:
            return [sum(row) for row in zip(*columns.values())]
    """)
    inferrer = loaded(f"{name}:total", reads={"x": None, "y": None})
    assert inferrer.infer({"x": [1, 2], "y": [3, 4]}) == [4, 6]


def test_object_is_closed(user_module: UserModule, tmp_path: Path) -> None:
    """An object with `close` is closed with its inferrer."""
    # given
    name = user_module("""
        from pathlib import Path

        class Open:
            def __init__(self, *, note: str):
                self.note = Path(note)

            def infer(self, x: int) -> int:
                return x

            def close(self):
                self.note.write_text("closed")
    """)
    inferrer = loaded(f"{name}:Open", params={"note": str(tmp_path / "note")})

    # when
    inferrer.close()

    # then
    assert (tmp_path / "note").read_text() == "closed"


BROKEN = """
    class Palette:
        def __init__(self, *, bins: int = 10):
            if bins < 2:
                raise ValueError("at least 2 bins")

        def infer(self, x: list[int]) -> list[int]:
            return x

    class Modelled:
        def __init__(self, model):
            pass

        def infer(self, x: list[int]) -> list[int]:
            return x

    class Silent:
        pass

    class Needy:
        def __init__(self, size: int):
            pass

        def infer(self, x: int) -> int:
            return x

    def mixed(x: list[int], y: int) -> list[int]:
        return x

    def two(x: int, y: int) -> int:
        return x

    number = 3
"""


@pytest.mark.parametrize(
    ("target", "reads", "params", "sentence"),
    [
        ("Palette", ["x"], {"bin": 3}, "takes no parameter bin; it takes: bins"),
        ("Palette", ["x"], {"bins": 1}, "cannot be made: ValueError: at least 2 bins"),
        ("Palette", ["picture"], {}, "takes no input picture; it takes: x"),
        ("Modelled", ["x"], {}, "needs a model, but its stage names none"),
        ("Needy", ["x"], {}, "needs the parameter size"),
        ("Silent", ["x"], {}, "a class without a method `infer`"),
        ("mixed", ["x", "y"], {}, "takes lists for x only"),
        ("two", ["x"], {}, "takes y, which its stage neither reads nor sets"),
        ("number", ["x"], {}, "is a int; name a class"),
        ("Missing", ["x"], {}, "has no Missing"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    user_module: UserModule, target: str, reads: list[str], params: dict[str, object], sentence: str
) -> None:
    """An inferrer that its stage cannot use is refused when it is loaded, with what is wrong."""
    name = user_module(BROKEN)
    with pytest.raises(InferrerBroken, match=sentence):
        loaded(f"{name}:{target}", reads=dict.fromkeys(reads), params=params)


def test_unused_model_is_refused(user_module: UserModule, tmp_path: Path) -> None:
    """A model that the inferrer would not look at is a mistake in the stage."""
    name = user_module(BROKEN)
    with pytest.raises(InferrerBroken, match="is given a model, but takes no parameter `model`"):
        load_inferrer(runtime(f"{name}:Palette", model=model_ref()), model_path=tmp_path / "scale.txt")


def test_module_that_raises_is_told(user_module: UserModule) -> None:
    """A module that cannot be imported, or does not exist, is named with the reason."""
    name = user_module("raise RuntimeError('no licence')")
    with pytest.raises(InferrerBroken, match="cannot be imported: RuntimeError: no licence"):
        loaded(f"{name}:Any")
    with pytest.raises(InferrerBroken, match="cannot be imported: ModuleNotFoundError"):
        loaded("no_such_module_anywhere:Any")
    with pytest.raises(InferrerBroken, match="names no inferrer"):
        loaded("onxx")
