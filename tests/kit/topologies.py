"""Servers that stand in for each other: replicas watched by Sentinels, and a cluster whose slots can be moved."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.kit.servers import HOST, Server
from tests.kit.waiting import block_until

MASTER = "tests"
DOWN_AFTER = 500, 2000, 2000  # ms without an answer after which each Sentinel takes the master for dead: one is first,
QUORUM = 1  # and may begin at once, so that the votes are not split; a majority must vote for it all the same
FAILOVER_TIMEOUT = 3000  # ms
_QUICK = {"INFO-PERIOD": 100, "PUBLISH-PERIOD": 100, "ASK-PERIOD": 100}
_PUBLISH_PERIOD = 2000  # Sentinels take back a master that has not been announced for four of these
_SLOTS = 16384


def command(server: Server, *words: Any) -> Any:
    """The reply of one server to one command, as it is."""
    with redis.Redis.from_url(server.url, protocol=2, socket_timeout=5) as client:
        untyped: Any = client
        return untyped.execute_command(*words)


def info(server: Server, section: str) -> dict[str, str]:
    """What the server says of itself."""
    with server.client() as client:
        found: Any = client.info(section)
    return {name: str(value) for name, value in found.items()}


class Sentinel(Server):
    """Watches a master; it needs a configuration file, in which it keeps what it knows."""

    def __init__(self, master: Server, down_after: int, **options: str) -> None:
        super().__init__(**options)
        self._master = master
        self._down_after = down_after

    def arguments(self) -> list[str]:
        file = self.directory / "sentinel.conf"
        if not file.exists():
            lines = [
                f"port {self.port}",
                f"bind {HOST}",
                f"dir {self.directory}",
                f"sentinel monitor {MASTER} {HOST} {self._master.port} {QUORUM}",
                f"sentinel down-after-milliseconds {MASTER} {self._down_after}",
                f"sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT}",
            ]
            if "requirepass" in self.options:
                lines.append(f"requirepass {self.options['requirepass']}")
            file.write_text("\n".join(lines) + "\n")
        return [str(file), "--sentinel"]


class Watched:
    """A master, replicas and three Sentinels."""

    def __init__(self, servers: Sequence[Server], sentinels: Sequence[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """The address that leads to whoever is master."""
        return self.address(*(sentinel.port for sentinel in self.sentinels))

    def address(self, *ports: int, master: str = MASTER) -> str:
        return "redis+sentinel://" + ",".join(f"{HOST}:{port}" for port in ports) + f"/{master}"

    @property
    def master(self) -> Server:
        """The master, as the first Sentinel sees it."""
        port = int(command(self.sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> list[Server]:
        master = self.master
        return [server for server in self.servers if server is not master]

    def fail_over(self) -> None:
        """Makes a replica the master, while the old one still answers."""
        command(self.sentinels[0], "SENTINEL", "FAILOVER", MASTER)

    def await_other_master(self, old: Server, seconds: float = 10) -> Server:
        """The new master, once all Sentinels agree on it and it says so itself."""

        def found() -> Server | None:
            master = self.master
            ports = {command(one, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1] for one in self.sentinels}
            return master if master is not old and len(ports) == 1 and _role(master) == "master" else None

        return cast("Server", block_until(found, seconds, "another master"))

    def await_ready(self) -> None:
        """Returns when a failover is possible: all know each other."""
        self._set_periods(_QUICK)
        block_until(lambda: all(map(self._knows_all, self.sentinels)), 15, "Sentinels that know each other")
        self._set_periods({"PUBLISH-PERIOD": _PUBLISH_PERIOD})

    @property
    def is_healthy(self) -> bool:
        """Whether each Sentinel knows of nothing that would keep it from a failover."""
        states = [command(one, "SENTINEL", what, MASTER) for one in self.sentinels for what in ("MASTER", "REPLICAS")]
        rows = [row for state in states for row in (state if state and isinstance(state[0], list) else [state])]
        return all(dict(zip(row[::2], row[1::2], strict=True))[b"flags"] in (b"master", b"slave") for row in rows)

    def _set_periods(self, periods: Mapping[str, int]) -> None:
        for sentinel in self.sentinels:
            command(sentinel, "SENTINEL", "DEBUG", *[word for pair in periods.items() for word in pair])

    def _knows_all(self, sentinel: Sentinel) -> bool:
        reply = command(sentinel, "SENTINEL", "MASTER", MASTER)
        about = dict(zip(reply[::2], reply[1::2], strict=True))
        return int(about[b"num-slaves"]) == len(self.servers) - 1 and int(about[b"num-other-sentinels"]) == 2


def _role(server: Server) -> str:
    return str(command(server, "ROLE")[0].decode())


def is_replica(server: Server) -> bool:
    """Whether it says so itself."""
    return _role(server) == "slave"


def reaches_all(master: Server, replicas: int) -> bool:
    """Whether replicas get what is written, and have got all that was written before. The link is up before: for up to
    a second after it they get nothing.
    """
    with master.client() as client:
        client.publish("ready?", "")
        reached: int = client.wait(replicas, 100)
    return reached == replicas


@contextmanager
def sentinel3(*, replicas: int = 2, down_after: Sequence[int] = DOWN_AFTER, **options: str | int) -> Generator[Watched]:
    """A master with replicas and three Sentinels, ready to fail over; options are the servers' own.

    `down_after` says, of each Sentinel, after how many ms without an answer it takes the master for dead.
    """
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(Server(repl_diskless_sync_delay=0, repl_ping_replica_period=1, **options))
            for _ in range(1 + replicas)
        ]
        for replica in servers[1:]:
            command(replica, "REPLICAOF", HOST, servers[0].port)
        block_until(lambda: reaches_all(servers[0], replicas), 10, "replicas that follow")
        watched = Watched(servers, [stack.enter_context(Sentinel(servers[0], after)) for after in down_after])
        watched.await_ready()
        try:
            yield watched
        except BaseException as error:
            for started in (watched.sentinels[0], *servers):
                error.add_note(f"the server on port {started.port} printed:\n{started.process.log_end}")
            raise


class Cluster:
    """Three nodes that share the slots."""

    def __init__(self, nodes: Sequence[Server]) -> None:
        self.nodes = nodes
        self._ids = [command(node, "CLUSTER", "MYID").decode() for node in nodes]

    @property
    def url(self) -> str:
        """The address of the whole cluster."""
        return self.address(*self.nodes)

    def address(self, *nodes: Server) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in nodes)

    def owner(self, key: str) -> Server:
        """The node that has the slot of a key, as the first node sees it that answers."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self._slots():
            if int(first) <= slot <= int(last):
                return next(node for node in self.nodes if node.port == int(primary[1]))
        raise AssertionError(f"nobody owns slot {slot}")

    def others(self, node: Server) -> list[Server]:
        return [one for one in self.nodes if one is not node]

    def move(self, key: str, to: Server, between: Callable[[int], object] = lambda _moved: None) -> int:
        """Moves the slot of a key to another node, key by key; calls `between` after each. How many keys it had."""
        slot, source = key_slot(key.encode()), self.owner(key)
        source_id, target_id = self._id(source), self._id(to)
        command(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        moved = 0
        with source.client(30) as client:
            untyped: Any = client
            while keys := untyped.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 50):
                for name in keys:
                    untyped.execute_command("MIGRATE", HOST, to.port, name, 0, 5000)
                    moved += 1
                    between(moved)
        for node in (to, source, *self.others(to)):
            command(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return moved

    def move_at_once(self, key: str, to: Server) -> None:
        """Moves the slot of a key as a whole, which only newer servers can."""
        slot, source = key_slot(key.encode()), self.owner(key)
        command(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self._id(to))
        block_until(lambda: self.owner(key) is to, 20, "the end of the move")

    def await_ready(self) -> None:
        """Returns when all nodes serve."""
        block_until(lambda: all(_is_up(node, len(self.nodes)) for node in self.nodes), 20, "a complete cluster")

    def _id(self, node: Server) -> str:
        return str(self._ids[self.nodes.index(node)])

    def _slots(self) -> Iterator[list[Any]]:
        for node in self.nodes:
            with contextlib.suppress(RedisError):
                yield from command(node, "CLUSTER", "SLOTS")
                return


def _is_up(node: Server, size: int) -> bool:
    about = dict(line.split(":") for line in command(node, "CLUSTER", "INFO").decode().split("\r\n") if ":" in line)
    return about["cluster_state"] == "ok" and int(about["cluster_known_nodes"]) == size


@contextmanager
def cluster3(**options: str | int) -> Generator[Cluster]:
    """A cluster of three nodes without replicas; options are the servers' own."""
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(Server(cluster_enabled="yes", cluster_node_timeout=2000, **options)) for _ in range(3)
        ]
        for number, node in enumerate(nodes):
            first, last = number * _SLOTS // len(nodes), (number + 1) * _SLOTS // len(nodes) - 1
            command(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            command(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            command(nodes[0], "CLUSTER", "MEET", HOST, node.port)
        cluster = Cluster(nodes)
        cluster.await_ready()
        yield cluster
