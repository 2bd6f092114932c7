"""What the section ``[systems.ersilia]`` of the settings says."""

import msgspec
from msgspec import Struct

from limner.errors import ConfigurationError
from limner.settings import Settings

NAME = "ersilia"


class ErsiliaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this server speaks to clients of the original."""

    #: Below this path ``/predictions`` is there as well.
    prefix: str = "/dev"
    #: Days for which an uploaded file, and what was made of it, can be fetched.
    request_days: float = 7.0


def ersilia_settings(settings: Settings) -> ErsiliaSettings:
    """
    The system's own settings.

    Raises:
        ConfigurationError: one is unknown or of the wrong kind.
    """
    try:
        found = msgspec.convert(settings.systems.get(NAME, {}), ErsiliaSettings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The settings [systems.ersilia] are not right: {error}.") from error
    if found.prefix and (not found.prefix.startswith("/") or found.prefix.endswith("/")):
        raise ConfigurationError(f"The setting `prefix` of [systems.ersilia] is {found.prefix!r}; write it as /dev.")
    if found.request_days <= 0:
        raise ConfigurationError("The setting `request_days` of [systems.ersilia] is more than 0.")
    return found
