"""What the section ``[systems.antenna]`` of the settings says."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec
from msgspec import Struct, field

from limner.errors import ConfigurationError
from limner.settings import Settings

NAME = "antenna"


class AntennaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this server speaks to the clients of the antenna's own routes."""

    #: Names that clients use for implementations that are called otherwise here.
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: Callbacks hold only what the original contract has.
    strict: bool = False
    #: Labels of one classification in a callback at most.
    top_k: int = 10
    #: Days for which a link to a crop or a vector can be followed.
    link_days: float = 7.0

    @property
    def lifetime(self) -> timedelta:
        """For how long a link can be followed."""
        return timedelta(days=self.link_days)


def antenna_settings(settings: Settings) -> AntennaSettings:
    """
    The antenna's own settings.

    Raises:
        ConfigurationError: one is unknown or of the wrong kind.
    """
    try:
        found = msgspec.convert(settings.systems.get(NAME, {}), AntennaSettings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The settings in [systems.{NAME}] are not right: {error}.") from error
    if found.top_k < 1 or found.link_days <= 0:
        raise ConfigurationError(f"In [systems.{NAME}] `top_k` is 1 or more, and `link_days` more than 0.")
    return found
