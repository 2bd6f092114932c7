"""A Ray cluster as a place for workers; the only file that knows Ray."""

import logging
import os
import re
from datetime import timedelta

import ray
from msgspec import Struct
from ray.exceptions import RayError

from limner.app.ray_actor import Ended, WorkerActor
from limner.errors import UsageError

#: Start a Ray on this machine, for as long as this process lives.
LOCAL = "local"
#: Workers keep nothing in Ray's own memory; it takes no less.
_OBJECT_STORE = 80_000_000
#: Calls of one actor at a time: one waits for the worker's end while another one drains it.
_AT_ONCE = 4
#: Ray colours what it says; of a long story the end is what matters.
_COLOUR = re.compile(r"\x1b\[\d*m")
_LONGEST = 400


class News(Struct, frozen=True, kw_only=True):
    """What became of one worker."""

    name: str
    #: The machine on which it has begun.
    host: str | None = None
    ended: Ended | None = None
    #: Why its actor is no more, although nobody ended it.
    lost: str | None = None


class RayCluster:
    """
    Workers by their names, each an actor that takes so many *cpus* and *gpus* of a node.

    What an actor is to know travels in calls, which Ray writes down nowhere: its name and its environment, which Ray
    shows, hold no token.
    """

    def __init__(self, address: str, *, cpus: float, gpus: float) -> None:
        """
        Connect to the cluster at *address*: ``auto``, ``HOST:PORT``, or ``local`` for one that is started here.

        Raises:
            UsageError: there is none, or none that takes this process.
        """
        own: dict[str, object] = {}
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise UsageError(f"No Ray takes workers at {address}: {_short(error)}") from error
        # No restarts: whether another one comes, and when, is for the backlog to say.
        takes = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=_AT_ONCE, max_restarts=0)
        self._kind = takes(WorkerActor)
        self._actors: dict[str, ray.actor.ActorHandle] = {}
        #: What is waited for, and whose it is.
        self._awaited: dict[ray.ObjectRef, str] = {}

    def start(self, name: str, told: bytes) -> None:
        """Ask for an actor whose worker is *told* so; it begins once there is room for it."""
        actor = self._actors[name] = self._kind.options(name=name).remote()
        self._awaited[actor.begin.remote(told)] = name

    def news(self, *, within: timedelta = timedelta()) -> list[News]:
        """What became of workers since it was asked last; waits so long for it to become so of all."""
        if not self._awaited:
            return []
        ready, _ = ray.wait(list(self._awaited), num_returns=len(self._awaited), timeout=within.total_seconds())
        heard = [self._heard(name, one) for one in ready if (name := self._awaited.pop(one, None)) is not None]
        return [news for news in heard if news is not None]

    def drain(self, name: str) -> None:
        """Have a worker that has begun end in good order; news will tell."""
        # Waited for, so that it is heard where it went wrong.
        self._awaited[self._actors[name].drain.remote()] = name

    def kill(self, name: str) -> None:
        """End an actor, and its worker with it, at once; there will be no more news of it."""
        self._awaited = {ref: whose for ref, whose in self._awaited.items() if whose != name}
        ray.kill(self._actors.pop(name))

    def close(self) -> None:
        """Leave the cluster; what is left of these actors ends."""
        ray.shutdown()

    def _heard(self, name: str, ref: "ray.ObjectRef") -> News | None:
        try:
            found = ray.get(ref)
        except RayError as error:
            # It may only be out of reach: two of its name would be one too many.
            self.kill(name)
            return News(name=name, lost=_short(error))
        if found is None:
            # It was told to drain.
            return None
        if isinstance(found, Ended):
            self.kill(name)
            return News(name=name, ended=found)
        self._awaited[self._actors[name].ended.remote()] = name
        return News(name=name, host=found)


def _short(error: Exception) -> str:
    words = " ".join(_COLOUR.sub("", str(error)).split())
    return words if len(words) <= _LONGEST else f"… {words[-_LONGEST:]}"
