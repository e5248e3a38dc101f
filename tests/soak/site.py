"""Where a soak's data are, and what can happen there: one server, a primary and its replica behind Sentinels, or the
nodes of a cluster.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.kit import Proxy, Server, block_until
from tests.kit.topologies import Cluster, Watched, cluster3, is_replica, reaches_all, sentinel3
from tests.soak.history import now
from tests.soak.plan import Mode, Step

PREFIX = "{soak}"
DURABLE: dict[str, str | int] = {"appendonly": "yes", "appendfsync": "always", "auto_aof_rewrite_percentage": 0}
DOWN_AFTER = 2000, 4000, 4000  # ms; long enough for a busy machine, or there are failovers that nobody has planned
DEMOTED = 40.0  # seconds within which Sentinels have made a replica of a primary that has come back

Happening = Callable[[Step], Awaitable[float]]
"""Brings a fault about; since when the server may have lost what it had acknowledged, or when the fault began."""


class Site(ABC):
    """Where the data are."""

    url: str
    happenings: Mapping[str, Happening]
    """By the kind of the fault."""

    @property
    @abstractmethod
    def primary(self) -> Server:
        """The server that has the data now."""

    @abstractmethod
    def proxy(self) -> Proxy | None:
        """A way to it for one process alone, not yet open; None if there is none."""

    def client(self) -> redis.Redis:
        """A client of the primary."""
        return self.primary.client()


class OneServer(Site):
    """A server that keeps what it has acknowledged, unless it is told to forget it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url
        self.happenings = {"restart": self._restart, "rewind": self._rewind, "standstill": self._standstill}

    @property
    def primary(self) -> Server:
        return self._server

    def proxy(self) -> Proxy:
        return Proxy(self._server.port)

    async def _restart(self, step: Step) -> float:
        since = now()
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(self._server.start)
        return since

    async def _rewind(self, step: Step) -> float:
        """It loses what it has stored since now, though it was on the disk: as with a lax `appendfsync`."""
        log = _log(self._server)
        since = now()  # first: whatever was acknowledged before is on the disk now
        size = _size(log)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(self._server.kill)
        with log.open("r+b") as file:
            file.truncate(size)
        await asyncio.to_thread(self._server.start)
        return since

    async def _standstill(self, step: Step) -> float:
        since = now()
        self._server.freeze()
        await asyncio.sleep(step.lasts)
        self._server.thaw()
        return since


class Nodes(Site):
    """Three nodes of a cluster, one of which has the slot of all keys."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._owner = cluster.owner(PREFIX)
        self.url = cluster.url
        self.happenings = {"slot moved": self._moved, "restart": self._restart, "standstill": self._standstill}

    @property
    def primary(self) -> Server:
        return self._owner

    def proxy(self) -> None:
        return None

    async def _moved(self, step: Step) -> float:
        """Key by key, while everybody goes on; `lasts` is how long that takes at least."""
        since = now()
        target = self._cluster.others(self._owner)[step.choice % 2]
        with self._owner.client() as client:
            pause = step.lasts / max(client.dbsize(), 1)
        await asyncio.to_thread(self._cluster.move, PREFIX, target, lambda _moved: time.sleep(pause))
        self._owner = target
        return since

    async def _restart(self, step: Step) -> float:
        """Of the owner; it is back when the cluster is whole again."""
        since = now()
        await asyncio.to_thread(self._owner.kill)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(self._owner.start)
        await asyncio.to_thread(self._cluster.await_ready)
        return since

    async def _standstill(self, step: Step) -> float:
        since = now()
        self._owner.freeze()
        await asyncio.sleep(step.lasts)
        self._owner.thaw()
        await asyncio.to_thread(self._cluster.await_ready)
        return since


class Replicas(Site):
    """A primary, a replica that takes its place, and three Sentinels that see to it."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._expected = watched.master
        self.url = watched.url
        self.happenings = {
            "failover": self._failover, "primary killed": self._killed, "primary frozen": self._frozen,
        }  # fmt: skip

    @property
    def primary(self) -> Server:
        master = self._watched.master
        assert master is self._expected, "a failover that nobody has planned: this machine has too much to do"
        return master

    def proxy(self) -> None:
        return None

    async def _failover(self, step: Step) -> float:
        """While the old primary still answers."""
        since, old = await asyncio.to_thread(self._all_replicated)
        await asyncio.to_thread(_wait_until, self._may_fail_over, "a failover that may begin")
        await asyncio.to_thread(self._taken_over, old)
        return since

    async def _killed(self, step: Step) -> float:
        """It comes back, with nothing, when another one has its place."""
        since, old = await asyncio.to_thread(self._all_replicated)
        await asyncio.to_thread(old.kill)
        await asyncio.to_thread(self._await_other, old)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(self._taken_over, old)
        return since

    async def _frozen(self, step: Step) -> float:
        """It comes back, and takes itself for the primary until it is told that it is not."""
        since, old = await asyncio.to_thread(self._all_replicated)
        old.freeze()
        await asyncio.to_thread(self._await_other, old)
        await asyncio.sleep(step.lasts)
        old.thaw()
        await asyncio.to_thread(self._taken_over, old)
        return since

    def _may_fail_over(self) -> bool:
        self._watched.fail_over()  # or an error says why not now
        return True

    def _all_replicated(self) -> tuple[float, Server]:
        """A moment before which everything that was acknowledged is on the replica too, and who the primary is."""
        primary = self.primary
        while True:
            since = now()
            if reaches_all(primary, 1):
                return since, primary

    def _taken_over(self, old: Server) -> None:
        """Returns when the other one is the primary for everybody, and this one gets what is written there."""
        self._expected = new = self._await_other(old)
        _wait_until(lambda: is_replica(old), "the old primary as a replica")
        _wait_until(lambda: reaches_all(new, 1), "a replica that follows")
        _wait_until(lambda: self._watched.is_healthy, "Sentinels that see a replica")

    def _await_other(self, old: Server) -> Server:
        """The new primary, when all Sentinels agree on it."""
        _wait_until(lambda: bool(self._watched.await_other_master(old, DEMOTED)), "another primary")
        return self._watched.master


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    """Connections that are asked are closed too: by the servers, when their part is another one."""

    def holds() -> bool:
        try:
            return condition()
        except redis.RedisError:
            return False

    block_until(holds, DEMOTED, what)


def _log(server: Server) -> Path:
    [log] = (server.directory / "appendonlydir").glob("*.incr.aof")
    return log


def _size(log: Path) -> int:
    return log.stat().st_size


@contextmanager
def site(mode: Mode) -> Generator[Site]:
    """What a mode needs."""
    if mode == "failover":
        with sentinel3(replicas=1, down_after=DOWN_AFTER) as watched:
            yield Replicas(watched)
    elif mode == "cluster":
        with cluster3(**DURABLE) as cluster:
            yield Nodes(cluster)
    else:
        with Server(**DURABLE) as server:
            yield OneServer(server)
