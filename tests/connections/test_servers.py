"""Who is asked where the server is, and how often."""

import asyncio
import threading
import time
from typing import Any

import pytest
from redis._parsers.base import BaseParser

from taskproc import TaskProcessor
from taskproc.address import Host, read_address
from taskproc.links import SharedFind
from taskproc.replies import Unreached, explain, is_elsewhere, is_not_executed
from taskproc.servers import finder
from tests.connections.impostor import Reply, encoded, impostor
from tests.connections.kit import settings_for
from tests.kit import Server


def _owned_by(port: int, *others: int) -> bytes:
    """The slots as a node sees them."""
    nodes: list[Reply] = [["127.0.0.1", other, "id"] for other in (port, *others)]
    return encoded([[0, 16383, *nodes]])


def _master(port: int) -> bytes:
    return encoded(["127.0.0.1", port])


async def _found(address: str) -> list[int]:
    """The ports that were found, three times in a row."""
    find = finder(read_address(address), "{x}")
    assert find is not None
    return [(await asyncio.to_thread(find))[1] for _ in range(3)]


async def test_nodes_are_asked_in_turn() -> None:
    """One node that has not heard of a move does not keep us from the owner."""
    async with impostor(CLUSTER=_owned_by(1)) as stale, impostor(CLUSTER=_owned_by(2)) as other:
        address = f"redis+cluster://127.0.0.1:{stale.port},127.0.0.1:{other.port}"
        assert await _found(address) == [1, 2, 1]


async def test_sentinels_are_asked_in_turn() -> None:
    """Nor does one Sentinel that has not heard of a failover, or is cut off from the others."""
    async with impostor(SENTINEL=_master(1)) as stale, impostor(SENTINEL=_master(2)) as other:
        address = f"redis+sentinel://127.0.0.1:{stale.port},127.0.0.1:{other.port}/main"
        assert await _found(address) == [1, 2, 1]


async def test_nodes_that_are_new_are_asked_too() -> None:
    """The address may name a single node: those that it tells of are asked when it is gone."""
    async with impostor() as node:
        node.replies["CLUSTER"] = _owned_by(7)
        async with impostor(CLUSTER=_owned_by(7, node.port)) as named:
            find = finder(read_address(f"redis+cluster://127.0.0.1:{named.port}"), "{x}")
            assert find is not None
            assert await asyncio.to_thread(find) == ("127.0.0.1", 7)
        assert await asyncio.to_thread(find) == ("127.0.0.1", 7)
        assert node.asked["CLUSTER"] == 1


async def test_node_without_a_name() -> None:
    """A node that does not know its own address is where it was asked."""
    async with impostor(CLUSTER=encoded([[0, 16383, ["", 7, "id"]]])) as node:
        assert await _found(f"redis+cluster://127.0.0.1:{node.port}") == [7, 7, 7]


async def test_nobody_owns_the_slot() -> None:
    """The error says so, and who said it."""
    async with impostor(CLUSTER=encoded([])) as node:
        with pytest.raises(Unreached, match=rf"who owns slot \d+ \(127.0.0.1:{node.port}: nobody owns it\)"):
            await _found(f"redis+cluster://127.0.0.1:{node.port}")


async def test_asked_once_for_each_connection() -> None:
    """Requests on a connection that is open ask nobody."""
    with Server() as server:
        async with impostor(SENTINEL=_master(server.port)) as sentinel:
            address = f"redis+sentinel://127.0.0.1:{sentinel.port}/main?max_connections=1"
            async with TaskProcessor(settings_for(address)) as processor:
                for _ in range(20):
                    await processor.get_queues()
            assert sentinel.asked["SENTINEL"] == 1


async def test_asked_once_by_many_connections_at_the_same_time() -> None:
    """All connections that are lost at once, as after a failover, share one answer; later ones ask anew."""
    called: list[str] = []

    def find() -> Host:
        called.append(threading.current_thread().name)
        time.sleep(0.05)
        return "h", len(called)

    shared = SharedFind(find)
    assert await asyncio.gather(*(shared() for _ in range(30))) == [("h", 1)] * 30
    assert await shared() == ("h", 2)


async def test_nobody_waits_for_an_answer() -> None:
    """An error that comes when all who asked have gone is not reported as one that nobody handles."""

    def find() -> Host:
        time.sleep(0.05)
        raise Unreached("nobody knows")

    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    shared = SharedFind(find)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await shared()
    await asyncio.sleep(0.1)
    assert problems == []
    with pytest.raises(Unreached):
        await shared()


def _parsed(reply: str) -> Exception:
    """The error that the driver makes of a reply."""
    parser: Any = BaseParser
    error: Exception = parser.parse_error(reply)
    return error


IN_SCRIPT_OF_6_2 = "ERR Error running script (call to f_abc): @user_script:50: @user_script: 50: -{}"


@pytest.mark.parametrize("form", ["{}", IN_SCRIPT_OF_6_2], ids=["direct", "in a script of 6.2"])
@pytest.mark.parametrize(
    "reply, elsewhere",
    [
        ("READONLY You can't write against a read only replica.", True),
        ("NOREPLICAS Not enough good replicas to write.", True),
        ("MASTERDOWN Link with MASTER is down", True),
        ("CLUSTERDOWN The cluster is down", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("MISCONF Redis is configured to save RDB snapshots", False),
        ("LOADING Redis is loading the dataset in memory", False),
        ("BUSY Redis is busy running a script.", False),
        ("TRYAGAIN Multiple keys request during rehashing of slot", False),
    ],
)
def test_errors_that_pass(form: str, reply: str, *, elsewhere: bool) -> None:
    """They are known for not executed, and whether another server is to be looked for."""
    error = _parsed(form.format(reply))
    assert is_not_executed(error)
    assert is_elsewhere(error) == elsewhere
    assert explain(error, "redis://h") is None


@pytest.mark.parametrize(
    "reply, said",
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "refuses this user"),
        ("NOPERM this user has no permissions to run the 'eval' command", "refuses this user"),
        ("NOAUTH Authentication required.", "wants a password"),
        (
            "ERR The user executing the script can't run this command or subcommand script: x, on @user_script:1.",
            "subcommand. Give",
        ),
        (
            "ERR ACL failure in script: User w has no permissions to run the 'hset' command script: on @user_script:1.",
            "'hset' command. Give",
        ),
        (IN_SCRIPT_OF_6_2.format("NOPERM x"), "refuses this user"),
        ("MOVED 12 h:1", "is a node of a cluster"),
        ("ERR unknown command 'EVAL', with args beginning with: 'x'", "does not know the command 'EVAL'"),
    ],
)
def test_errors_that_do_not_pass(reply: str, said: str) -> None:
    """They are explained, with the address."""
    explained = explain(_parsed(reply), "redis://h")
    assert explained is not None
    assert str(explained).startswith("the server at redis://h ")
    assert said in str(explained)


def test_errors_of_scripts_are_none_of_these() -> None:
    """A bug is neither waited for nor explained."""
    error = _parsed("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert not is_not_executed(error)
    assert explain(error, "redis://h") is None
