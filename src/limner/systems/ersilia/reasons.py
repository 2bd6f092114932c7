"""Why a molecule has no prediction, in this system's words: each reason with the platform's code that it belongs to."""

from enum import StrEnum

from limner.domain.failures import FailureCode


class Reason(StrEnum):
    """The machine-readable detail of a failure, explained in docs/systems/ersilia.md."""

    BAD_ROW = "bad_row"
    INPUT_TOO_LONG = "input_too_long"
    EMPTY_INPUT = "empty_input"
    BAD_KEY = "bad_key"
    BAD_SMILES = "bad_smiles"
    NO_KEY = "no_key"
    KEY_MISMATCH = "key_mismatch"
    BAD_COLUMNS = "bad_columns"
    MISALIGNED = "misaligned"
    COMMAND_FAILED = "command_failed"
    BAD_TYPE = "bad_type"
    NO_OUTPUT = "no_output"
    GOLDEN_MISMATCH = "golden_mismatch"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    THROTTLED = "throttled"
    ITEM_TOO_LARGE = "item_too_large"
    NOT_REPRESENTABLE = "not_representable"
    #: No failures: rows that say again what an earlier row said.
    DUPLICATE_ROW = "duplicate_row"
    DUPLICATE_KEY = "duplicate_key"

    @property
    def repeats(self) -> bool:
        """Whether the row is no failure, but a repeat of an earlier one."""
        return self in (Reason.DUPLICATE_ROW, Reason.DUPLICATE_KEY)

    @property
    def code(self) -> FailureCode:
        """The platform's code."""
        return _CODES.get(self, FailureCode.INPUT_INVALID)


_CODES = {
    Reason.BAD_COLUMNS: FailureCode.OUTPUT_INVALID,
    Reason.MISALIGNED: FailureCode.OUTPUT_INVALID,
    Reason.COMMAND_FAILED: FailureCode.MODEL_ERROR,
    Reason.BAD_TYPE: FailureCode.OUTPUT_INVALID,
    Reason.NO_OUTPUT: FailureCode.OUTPUT_INVALID,
    Reason.GOLDEN_MISMATCH: FailureCode.MODEL_UNAVAILABLE,
    Reason.ENVIRONMENT_MISMATCH: FailureCode.MODEL_UNAVAILABLE,
    Reason.THROTTLED: FailureCode.ATTEMPTS_EXHAUSTED,
    Reason.ITEM_TOO_LARGE: FailureCode.OUTPUT_TOO_LARGE,
    Reason.NOT_REPRESENTABLE: FailureCode.OUTPUT_INVALID,
}
