"""The tools do what the tests with faults rely on: one without effect would make them pass."""

import socket
import time
from collections.abc import Generator
from typing import Any, cast

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from taskproc.driver import encode
from tests.kit import Proxy, Server, process
from tests.kit.wire import written

ASK = "return {tostring(cmsgpack.unpack(ARGV[1]).now), cmsgpack.unpack(ARGV[1]).word}"


@pytest.fixture
def proxy(server: Server) -> Generator[Proxy]:
    """Passes everything on until told otherwise."""
    with Proxy(server.port) as started:
        yield started


def client_of(proxy: Proxy) -> redis.Redis:
    """A client behind the proxy that sends everything once."""
    return redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0), socket_timeout=1, protocol=2)


def test_a_reply_is_cut_in_half(proxy: Proxy, client: redis.Redis, prefix: str) -> None:
    """The command was carried out; half of the bytes come, then the end."""
    proxy.cut_reply("APPEND")
    with socket.create_connection(("127.0.0.1", proxy.port)) as raw, raw.makefile("rb") as reader:
        raw.sendall(written([b"APPEND", prefix.encode(), b"12345678901234567890"]))
        assert reader.read() == b":2"  # of ":20\r\n"
    assert client.strlen(prefix) == 20
    client.delete(prefix)


def test_a_reply_comes_in_pieces(proxy: Proxy) -> None:
    """Of as many bytes as were said, at most; nothing is lost."""
    reply = b"$9\r\n123456789\r\n"
    proxy.split(1)
    assert proxy.pieces_of(reply) == [bytes([byte]) for byte in reply]
    proxy.split(5)
    pieces = proxy.pieces_of(reply)
    assert b"".join(pieces) == reply
    assert {len(piece) for piece in pieces} <= {1, 2, 3, 4, 5}
    proxy.split(0)
    assert proxy.pieces_of(reply) == [reply]


def test_an_error_is_answered(proxy: Proxy, client: redis.Redis, prefix: str) -> None:
    """The server sees nothing of it; the next one comes through."""
    proxy.answer("SET", "-OOM no room")
    with client_of(proxy) as through:
        with pytest.raises(OutOfMemoryError, match="no room"):
            through.set(prefix, "x")
        assert client.exists(prefix) == 0
        assert through.set(prefix, "x")
    client.delete(prefix)


def test_one_connection_falls_silent(proxy: Proxy, client: redis.Redis, prefix: str) -> None:
    """The one that has sent this command, which is carried out; others go on."""
    proxy.silence("SET")
    with client_of(proxy) as one, client_of(proxy) as other:
        with pytest.raises(redis.TimeoutError):
            one.set(prefix, "x")
        assert other.getdel(prefix) == b"x"
        assert proxy.silenced == 1
    assert client.exists(prefix) == 0


def test_messages_are_dropped(proxy: Proxy, client: redis.Redis, prefix: str) -> None:
    """The subscriber stays subscribed, and hears those that come later."""
    with client_of(proxy) as through, through.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(prefix)
        assert pubsub.get_message(timeout=1) is None
        proxy.drop_messages()
        client.publish(prefix, "lost")
        assert pubsub.get_message(timeout=0.2) is None
        proxy.drop_messages(drop=False)
        client.publish(prefix, "heard")
        heard = cast("Any", pubsub.get_message(timeout=1))
    assert heard is not None
    assert (heard["data"], proxy.messages_dropped) == (b"heard", 1)


def test_subscribers_are_muted(proxy: Proxy, client: redis.Redis, prefix: str) -> None:
    """Those of that moment hear nothing, nor are they answered; who comes later hears all."""
    with (
        client_of(proxy) as through,
        through.pubsub() as muted,
        through.pubsub(ignore_subscribe_messages=True) as later,
    ):
        muted.subscribe(prefix)
        assert muted.get_message(timeout=1) is not None
        proxy.mute_subscribers()
        later.subscribe(prefix)
        assert later.get_message(timeout=1) is None
        muted.ping()
        client.publish(prefix, "heard")
        assert cast("Any", later.get_message(timeout=1))["data"] == b"heard"
        assert muted.get_message(timeout=0.2) is None


@pytest.mark.parametrize("ahead", [3_600.0, -3_600.0])
def test_scripts_are_told_another_time(proxy: Proxy, ahead: float) -> None:
    """Beside what they were told; without it they ask the server."""
    with client_of(proxy) as through:
        assert through.eval(ASK, 0, encode({"word": "kept"})) == [b"nil", b"kept"]
        proxy.set_clock(ahead)
        now, word = through.eval(ASK, 0, encode({"word": "kept"}))
        assert abs(int(now) / 1000 - time.time() - ahead) < 1
        assert word == b"kept"
        proxy.set_clock(0)
        assert through.eval(ASK, 0, encode({"word": "kept"}))[0] == b"nil"


def test_a_wall_clock_is_set() -> None:
    """For everything that is imported later, and again and again; what only goes forward stays right."""
    code = """
    import time
    right, monotonic = time.time(), time.monotonic()
    from tests.kit.clocks import set_wall_clock
    for ahead in (3600, -3600, 0):
        set_wall_clock(ahead)
        from datetime import UTC, datetime
        assert abs(time.time() - right - ahead) < 5
        assert abs(datetime.now(UTC).timestamp() - right - ahead) < 5
        assert isinstance(datetime.fromtimestamp(0, UTC) + (datetime.now() - datetime.now()), datetime)
        assert 0 <= time.monotonic() - monotonic < 5
    """
    with process(code) as started:
        assert started.wait() == 0, started.log


def test_a_server_goes_back() -> None:
    """To what it had when the copy was made; what it confirmed since is lost."""
    with Server(appendonly="yes", appendfsync="always") as server:
        with server.client() as client:
            client.set("a", 1)
            copy = server.copy_data()
            client.mset({"a": 2, "b": 2})
        for _ in range(2):
            server.rewind(copy)
            with server.client() as client:
                assert client.mget("a", "b") == [b"1", None]
                client.set("b", 3)
