"""The contract of an inferrer: what it wants to be handed, what it answers, and what it says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum

from limner.domain.failures import FailureCode
from limner.domain.pipelines import StageKind
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken, LimnerError


class Want(StrEnum):
    """
    What an inferrer is handed for one input; a value that is None stays None for each of them.

    Records that read the same file share what it decodes to, and no change of one is seen by another: a picture may be
    changed, since Pillow copies its pixels before the first change (its method ``frombytes`` alone does not, and is not
    to be called on it); an array of a file is read-only.
    """

    #: A decoded RGB picture, ``PIL.Image.Image``.
    PICTURE = "picture"
    #: The local ``Path`` of a file, which is not opened.
    PATH = "path"
    #: All bytes of a file.
    BYTES = "bytes"
    #: A file as UTF-8 text, or a value that is text.
    TEXT = "text"
    #: A NumPy array: a picture as height × width × 3 (uint8), the array in a file of kind .npy, or a stored array.
    ARRAY = "array"
    #: The stored value as it stands; a file comes as its path.
    VALUE = "value"


class OutputsMiscounted(InferrerBroken):
    """An inferrer answered with more or fewer outputs than it was given inputs, so none can be told apart."""

    #: What a record fails with that was alone when its outputs were miscounted.
    code = FailureCode.OUTPUT_INVALID


class InferrerUnavailable(LimnerError):
    """What infers cannot be reached or is busy now; asking again later is safe and blames no record."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        #: Seconds that it asked us to wait.
        self.retry_after = retry_after


class Inferrer(ABC):
    """Loaded once, then turns batches of inputs into as many outputs; used by one thread at a time."""

    @abstractmethod
    def describe(self) -> Description:
        """What makes its answers interchangeable with another's, as far as code and installed packages go."""

    @abstractmethod
    def wants(self) -> Mapping[str, Want]:
        """By the name of each input: what it is to be handed."""

    @abstractmethod
    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """
        One output for each record; *columns* holds, by input, equally long lists of what :meth:`wants` asked for.

        An exception object in place of an output fails that record alone. An exception with a text attribute
        ``code`` that is a failure code, and perhaps a ``reason``, becomes a failure of that code.

        Raises:
            OutputsMiscounted: the number of outputs is wrong; ask again with fewer records.
            InferrerUnavailable: nothing was inferred and no record is to blame; ask again later.
            Exception: whatever the inferrer raised for the batch as a whole; ask again with fewer records.
        """

    def golden(self) -> Value:
        """Golden cases that it carries, for :func:`limner.inferrers.golden.check_golden`; None without any."""
        return None

    def close(self) -> None:
        """Let go of what it holds; it is not asked again."""
        return


def whole_value(output: object, *, kind: StageKind) -> object:
    """*output* as it is stored: what is no dictionary under the name ``value``; an expand's list as it stands."""
    return output if kind is StageKind.EXPAND or isinstance(output, dict) else {"value": output}
