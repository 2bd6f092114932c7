"""Whether this process can serve far workers: tasks lie on its own bus only where it runs the engine, or shares one."""

from typing import TYPE_CHECKING

from limner.errors import BusUnavailable, ConfigurationError

if TYPE_CHECKING:
    from limner.app.hosting import Host


def check_hands_out(host: "Host") -> None:
    """
    See that far workers who ask here can be given tasks.

    Raises:
        ConfigurationError: never, as this process was started.
        BusUnavailable: not now, since another process leads; asking again is safe.
    """
    if host.leading or host.app.bus.shared:
        return
    if not host.leads:
        raise ConfigurationError(
            "This server only answers (--role api), and the tasks lie in the memory of the process that runs the "
            "engine: give workers the address of that one, or let both use a broker (setting `bus`, docs/rabbitmq.md)."
        )
    raise BusUnavailable("Another process runs the engine, and has the tasks; this one stands by for it.")


def check_takes_in(host: "Host") -> None:
    """
    See that answers of far workers may be committed here.

    Raises:
        ConfigurationError: one process writes to this database, and it is another one.
    """
    if not host.leads and not host.app.lock.shared:
        raise ConfigurationError(
            "This server only answers (--role api), and on SQLite the process that runs the engine alone takes answers "
            "in: give workers the address of that one."
        )
