"""Every error a caller can do something about, each a sentence that says what to do."""


class LimnerError(Exception):
    """Something Limner can explain; its text is a sentence for the user."""


class UsageError(LimnerError):
    """The request cannot be carried out as it was put; the text names what to change."""


class ConfigurationError(UsageError):
    """A setting or a pipeline declaration is wrong; the text names the setting."""


class NotFound(UsageError):
    """What was asked for does not exist; the text names what does."""


class IllegalMove(LimnerError):
    """A job may not move from its state to the one asked for."""


class MissingExtra(ConfigurationError):
    """A part that is an optional extra is not installed; the text names the command that installs it."""

    def __init__(self, *, extra: str, needs: str) -> None:
        super().__init__(f"{needs} needs a part that is not installed; run: pip install 'limner[{extra}]'")
        self.extra = extra


class StoreUnavailable(LimnerError):
    """The store cannot be reached or is of another version; asking again is safe."""


class BusUnavailable(LimnerError):
    """The bus cannot be reached; asking again is safe, the store still knows what is owed."""


class EventsUnavailable(LimnerError):
    """The broker of events does not take them; asking again is safe, the journal still knows what is owed."""


class ArtifactsUnavailable(LimnerError):
    """The artifacts cannot be reached, or have no room; asking again is safe."""


class ArtifactMissing(NotFound):
    """No artifact has this digest."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"There is no artifact {sha256}; it was never stored here or was cleaned up.")
        self.sha256 = sha256


class ChecksumMismatch(LimnerError):
    """Bytes do not have the digest that was promised for them."""

    def __init__(self, *, expected: str, found: str) -> None:
        super().__init__(f"The bytes have digest {found} and not {expected}, so they were not used.")
        self.expected = expected
        self.found = found


class AddressRefused(LimnerError):
    """An address may not be fetched or called; the text says why and which setting allows it."""


class ModelRefused(UsageError):
    """A model did not pass its check, so it was neither added nor promoted."""


class InferrerBroken(LimnerError):
    """An inferrer cannot be loaded or does not keep its contract; the text says what it lacks."""


class SearchUnavailable(LimnerError):
    """The index cannot be read; this is never answered with an empty list."""


class VersionConflict(UsageError):
    """A query would have compared values of two versions."""


class Unauthorized(LimnerError):
    """Nobody is known by this token, or it holds no longer; the text says what to do and never holds the token."""


class Forbidden(LimnerError):
    """The token is known and does not allow this; the text names what is missing."""


class KeyReused(UsageError):
    """An idempotency key came again with another request."""


class ServerUnavailable(LimnerError):
    """A server cannot be reached or is not well; asking again is safe."""


class ServerRefused(LimnerError):
    """A server does not accept a call; asking again as it was put is in vain."""

    def __init__(self, message: str, *, status: int, limit: int | None = None) -> None:
        super().__init__(message)
        #: The answer's HTTP status; 0 where the answer cannot be understood.
        self.status = status
        #: Bytes that a body may have, where it had more.
        self.limit = limit
