"""The shared test helpers do what other tests rely on: without these, a broken helper would make them pass."""

import asyncio
import fcntl
import socket
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.kit import Proxy, Server, assert_no_leaks, block_until, free_port, process, wait_until
from tests.kit.processes import ROOT


async def test_wait_until_returns_what_the_condition_says() -> None:
    """The first true value comes back, of a sync and of an async condition."""
    values = iter([0, 0, 7])

    async def later() -> str:
        return "yes"

    assert await wait_until(lambda: next(values)) == 7
    assert await wait_until(later) == "yes"


async def test_wait_until_says_what_did_not_come() -> None:
    """The error names what was waited for, for how long, and what the condition said last."""
    with pytest.raises(AssertionError, match=r"^not within 0\.05 s: the parcel \(last: \[\]\)$"):
        await wait_until(list, 0.05, "the parcel")
    with pytest.raises(AssertionError, match=r"test_kit\.py:\d+ \(last: 0\)$"):
        block_until(lambda: 0, 0.05)


async def test_wait_until_does_not_wait_for_a_condition_that_hangs() -> None:
    """An async condition that never returns is given up after the same time."""
    with pytest.raises(AssertionError, match="a sleeper"):
        await wait_until(lambda: asyncio.sleep(60), 0.05, "a sleeper")


async def test_wait_until_lets_errors_through() -> None:
    """What a condition raises is raised at once, a TimeoutError of its own included."""

    async def fails() -> bool:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await wait_until(fails)


def test_leak_check_names_the_key_and_its_content(client: redis.Redis, prefix: str) -> None:
    """A key that is not declared is named, with what is in it."""
    client.rpush(f"{prefix}:queue:default:ready", "task-1")
    with pytest.raises(AssertionError, match=r"1 keys left behind:\n.*:queue:default:ready \(list\) .*task-1"):
        assert_no_leaks(client, prefix)
    client.delete(f"{prefix}:queue:default:ready")


def test_leak_check_looks_into_batches_and_tasks(client: redis.Redis, prefix: str) -> None:
    """Ended batches, dead tasks and unfired continuations may stay; running batches and other tasks may not."""
    client.hset(f"{prefix}:batch:b1", "end", "1")
    client.zadd(f"{prefix}:batch:b1:chunks", {"0": 1})
    client.hset(f"{prefix}:task:b1.0.1", "s", "x")
    client.hset(f"{prefix}:task:b1.0.2", "s", "h")
    client.hset(f"{prefix}:meta", "schema", "1")
    assert_no_leaks(client, prefix)
    client.hdel(f"{prefix}:batch:b1", "end")
    with pytest.raises(AssertionError, match=r"(?s)2 keys .*:batch:b1:chunks .*:task:b1\.0\.2"):
        assert_no_leaks(client, prefix)
    client.hset(f"{prefix}:batch:b1", "end", "1")
    client.hset(f"{prefix}:task:b1.0.1", "s", "r")
    with pytest.raises(AssertionError, match=r"1 keys .*\n.*:task:b1\.0\.1"):
        assert_no_leaks(client, prefix)
    client.delete(f"{prefix}:task:b1.0.1")


_TESTS = '''
import pytest

async def test_async_failure(client, prefix):
    client.set(f"{prefix}:junk", "left by a test that fails anyway")
    raise RuntimeError("inside the loop")

async def test_leak(client, prefix):
    client.set(f"{prefix}:junk", "left by test_leak")

@pytest.mark.leaves_keys("ends in the middle")
async def test_allowed(client, prefix):
    client.set(f"{prefix}:junk", "left with permission")

@pytest.mark.leaves_keys
async def test_no_reason(client, prefix):
    """The marker without a reason is an error."""

def test_nothing_stays(client):
    assert not list(client.scan_iter(match="*:junk"))
'''


def test_hooks_of_the_suite(tmp_path: Path) -> None:
    """Async tests really run, keys left behind fail a test that passed, a marker needs its reason, all is removed."""
    (tmp_path / "test_inner.py").write_text(_TESTS)
    arguments = ["-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    with process([*arguments, f"--config-file={ROOT}/pyproject.toml", str(tmp_path)]) as inner:
        assert inner.wait(60) == 1
        assert "RuntimeError: inside the loop" in inner.log
        assert "left by test_leak" in inner.log
        assert "test_no_reason: say why" in inner.log
        assert "1 failed, 4 passed, 2 errors" in inner.log


def test_process_is_watched() -> None:
    """A program's environment, output and exit code are what the test gave and sees."""
    with process("import os; print(os.environ['COLOUR']); raise SystemExit(3)", {"COLOUR": "blue"}) as ended:
        assert ended.wait() == 3
        assert ended.log == "blue\n"


def test_process_ends_with_its_block_and_takes_its_children_along(tmp_path: Path) -> None:
    """A program that runs on is killed when the block is left, and so is the child that it has started."""
    parent = """
        import fcntl, os, time
        os.fork()
        fcntl.flock(os.open(os.environ["LOCK"], os.O_RDWR), fcntl.LOCK_SH)  # each process for itself, until its end
        print("locked", flush=True)
        time.sleep(60)
    """
    lock = tmp_path / "lock"
    lock.touch()
    with process(parent, {"LOCK": str(lock)}) as parent_process:
        block_until(lambda: parent_process.log.count("locked") == 2, 10, "locks of parent and child")
        assert not _is_unlocked(lock)
        parent_process.kill()
        assert not _is_unlocked(lock)
    block_until(lambda: _is_unlocked(lock), 5, "end of the child")


def test_process_log_goes_into_the_error() -> None:
    """An exception while a program runs carries what the program printed."""

    def waits_in_vain() -> None:
        with process("import time; print('a clue'); time.sleep(60)") as started:
            block_until(lambda: started.log, 10, "a clue")
            started.wait(0)

    with pytest.raises(AssertionError, match="did not end") as caught:
        waits_in_vain()
    assert "a clue" in caught.value.__notes__[0]


def test_frozen_process_stands_still_until_thawed() -> None:
    """A frozen program does nothing; it goes on when thawed."""
    with process("import time\nwhile True: print('.', end=''); time.sleep(0.01)") as ticking:
        block_until(lambda: ticking.log, 10, "first tick")
        ticking.freeze()
        time.sleep(0.05)
        seen = ticking.log
        time.sleep(0.1)
        assert ticking.log == seen
        ticking.thaw()
        block_until(lambda: len(ticking.log) > len(seen), 5, "another tick")


def test_server_keeps_its_data_when_told_to() -> None:
    """A killed server comes back on the same port with its data; one that stores nothing comes back empty."""
    with Server(appendonly="yes", appendfsync="always") as durable, durable.client() as client:
        client.set("key", "value")
        durable.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        durable.start()
        assert client.get("key") == b"value"
    assert not durable.directory.exists()
    with Server() as plain, plain.client() as client:
        client.set("key", "value")
        plain.restart()
        assert client.get("key") is None


def test_frozen_server_answers_when_thawed() -> None:
    """A frozen server keeps its connections and answers nothing until it is thawed."""
    with Server() as own, own.client(seconds=0.1) as impatient:
        impatient.ping()
        own.freeze()
        with pytest.raises(redis.TimeoutError):
            impatient.ping()
        own.thaw()
        assert impatient.ping()


def test_server_with_a_password() -> None:
    """The url of a server with a password contains it."""
    with Server(requirepass="s3cret") as locked, locked.client() as client:
        assert client.ping()
        stranger = redis.Redis(port=locked.port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_free_port_is_free() -> None:
    """Nobody listens on a free port."""
    with socket.socket() as nobody, pytest.raises(ConnectionRefusedError):
        nobody.connect(("127.0.0.1", free_port()))


def _client(proxy: Proxy, seconds: float = 5) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(port=proxy.port, socket_timeout=seconds, retry=AsyncRetry(NoBackoff(), 0))


async def test_proxy_drops_the_reply_of_what_was_executed(server: Server, client: redis.Redis, prefix: str) -> None:
    """The next replies to a command are lost after the server has executed it; other commands pass."""
    key = f"{prefix}:counter"
    with Proxy(server.port) as proxy:
        async with _client(proxy) as through:
            proxy.drop_reply("incrby", 2)
            assert await through.get(key) is None
            for executed in (b"1", b"2"):
                with pytest.raises(redis.ConnectionError):
                    await through.incrby(key)
                assert client.get(key) == executed
            assert await through.incrby(key) == 3
            assert proxy.dropped == 2
    client.delete(key)


async def test_proxy_drops_the_reply_of_one_script(server: Server, client: redis.Redis, prefix: str) -> None:
    """A script is hit by its SHA, whether it is sent as a whole or by its SHA; other scripts are not."""
    key = f"{prefix}:counter"
    with Proxy(server.port) as proxy:
        async with _client(proxy) as through:
            count, other = (
                through.register_script("return redis.call('INCR', KEYS[1])"),
                through.register_script("return 1"),
            )
            assert await count(keys=[key]) == 1
            proxy.drop_reply(count.sha, 2)
            assert await other() == 1
            with pytest.raises(redis.ConnectionError):
                await count(keys=[key])
            with pytest.raises(redis.ConnectionError):
                await through.eval("return redis.call('INCR', KEYS[1])", 1, key)
            assert await count(keys=[key]) == 4
    client.delete(key)


async def test_proxy_falls_silent_and_heals(server: Server, client: redis.Redis, prefix: str) -> None:
    """In a blackhole nothing comes through; what was sent meanwhile arrives when it heals."""
    key = f"{prefix}:late"
    with Proxy(server.port) as proxy:
        async with _client(proxy) as through:
            await through.ping()
            proxy.blackhole()
            sending = asyncio.ensure_future(through.set(key, "x"))
            await asyncio.sleep(0.1)
            assert client.get(key) is None
            assert not sending.done()
            proxy.heal()
            assert await sending
            assert client.get(key) == b"x"
    client.delete(key)


async def test_proxy_delays_replies(server: Server) -> None:
    """Each reply is held back for as long as was said."""
    with Proxy(server.port) as proxy:
        async with _client(proxy) as through:
            await through.ping()
            proxy.delay(100)
            started = time.monotonic()
            await through.ping()
            assert time.monotonic() - started >= 0.1
            proxy.delay(0)
            started = time.monotonic()
            await through.ping()
            assert time.monotonic() - started < 0.1


async def test_proxy_resets_connections(server: Server, client: redis.Redis, prefix: str) -> None:
    """All connections are reset, and new ones work."""
    with Proxy(server.port) as proxy:
        async with _client(proxy) as through:
            waiting = asyncio.ensure_future(through.blpop([f"{prefix}:nothing"], 30))
            await wait_until(lambda: client.info("clients")["blocked_clients"] == 1, what="a blocked client")
            proxy.close_all()
            with pytest.raises(redis.ConnectionError):
                await waiting
            assert await through.ping()
            await wait_until(lambda: proxy.connections == 1, what="end of the first connection")


async def test_proxy_passes_on_that_the_server_has_gone() -> None:
    """A killed server's clients are disconnected by the proxy too, and new ones turned away."""
    with Server() as own, Proxy(own.port) as proxy:
        async with _client(proxy) as through:
            await through.ping()
            own.kill()
            for _ in range(2):
                with pytest.raises(redis.ConnectionError):
                    await through.ping()


def _is_unlocked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
