"""The server, pictures and listener of the acceptance rows."""

from tests.systems.antenna.acceptance.conftest import all_pictures, door, hearing, own_door, own_listener

__all__ = ["all_pictures", "door", "hearing", "own_door", "own_listener"]
