"""What a start says when there is no server, or not the right one; never with a password."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskproc import ConfigurationError, StorageUnavailable, TaskProcessor
from tests.connections.impostor import encoded, impostor
from tests.connections.jobs import note
from tests.connections.kit import settings_for
from tests.kit import Server, free_port
from tests.kit.topologies import MASTER, Sentinel, command

SECRET = "s3cret"
QUICK = 0.3  # seconds


async def _refusal(address: str, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        async with TaskProcessor(settings_for(address, command_timeout=QUICK)):
            pass
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "form, shown",
    [
        ("redis://:s3cret@127.0.0.1:{port}/0", "redis://127.0.0.1:{port}/0"),
        ("rediss://:s3cret@127.0.0.1:{port}/0", "rediss://127.0.0.1:{port}/0"),
        ("unix://u:s3cret@{folder}/r.sock", "unix://{folder}/r.sock"),
        ("redis+sentinel://:s3cret@127.0.0.1:{port}/m", "redis+sentinel://127.0.0.1:{port}/m"),
        ("redis+cluster://:s3cret@127.0.0.1:{port}", "redis+cluster://127.0.0.1:{port}"),
    ],
)
async def test_nobody_there(form: str, shown: str, tmp_path: Path) -> None:
    """One error that names the address; the request was certainly not accepted."""
    places = {"port": free_port(), "folder": tmp_path}
    with pytest.raises(StorageUnavailable) as refused:
        async with TaskProcessor(settings_for(form.format(**places), command_timeout=QUICK)):
            pass
    assert str(refused.value).startswith(f"Redis at {shown.format(**places)} cannot be reached: ")
    assert "Is it running?" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert not refused.value.maybe_accepted


# Sentinels


@contextmanager
def _watched(**options: str) -> Generator[tuple[Server, Sentinel]]:
    """A server and one Sentinel that watches it."""
    with Server() as server, Sentinel(server, 1000, **options) as sentinel:
        yield server, sentinel


def _address(sentinel: Sentinel, master: str = MASTER, query: str = "") -> str:
    return f"redis+sentinel://127.0.0.1:{sentinel.port}/{master}{query}"


async def test_sentinels_do_not_know_the_name() -> None:
    """The error names the master that was asked for, and the Sentinel."""
    with _watched() as (_, sentinel):
        said = await _refusal(_address(sentinel, "othermaster"), StorageUnavailable)
    assert "no Sentinel says where the master 'othermaster' is" in said
    assert f"127.0.0.1:{sentinel.port}: it knows no master of this name" in said


async def test_sentinel_is_no_sentinel() -> None:
    """An address of a plain server is refused as such."""
    with Server() as server:
        said = await _refusal(f"redis+sentinel://127.0.0.1:{server.port}/{MASTER}", StorageUnavailable)
    assert f"127.0.0.1:{server.port}: unknown command 'SENTINEL'" in said


async def test_sentinel_as_single_server() -> None:
    """A plain address of a Sentinel is refused with a word on how to write it."""
    with _watched() as (_, sentinel):
        said = await _refusal(f"redis://127.0.0.1:{sentinel.port}/0", ConfigurationError)
    assert "is a Sentinel: use redis+sentinel://" in said


async def test_sentinels_want_a_password() -> None:
    """With the password of the Sentinels it goes; without, or with another, the error says so at once."""
    with _watched(requirepass=SECRET) as (_, sentinel):
        for query in ("", "?sentinel_password=wrong"):
            said = await _refusal(_address(sentinel, query=query), ConfigurationError)
            assert "sentinel_password" in said
        async with TaskProcessor(settings_for(_address(sentinel, query=f"?sentinel_password={SECRET}"))) as processor:
            assert await processor.get_queues()


async def test_dead_sentinels_are_passed_over() -> None:
    """One that answers is enough, wherever it stands."""
    with _watched() as (_, sentinel):
        address = _address(sentinel).replace("://", f"://127.0.0.1:{free_port()},127.0.0.1:{free_port()},")
        async with TaskProcessor(settings_for(address)) as processor:
            assert await processor.get_queues()


async def test_old_master_is_not_used() -> None:
    """A server that Sentinels still call master, but that is a replica by now, would show old data: it is refused."""
    with _watched() as (server, sentinel), Server() as other:
        command(server, "REPLICAOF", "127.0.0.1", other.port)
        said = await _refusal(_address(sentinel), StorageUnavailable)
    assert f"127.0.0.1:{server.port} is a replica now" in said


# Servers that are not what is needed


async def test_server_is_too_old() -> None:
    """Redis before 6.2 is refused by its version."""
    greeting = encoded(["server", "redis", "version", "6.0.16", "mode", "standalone", "role", "master"])
    async with impostor(HELLO=greeting) as old:
        said = await _refusal(f"redis://127.0.0.1:{old.port}/0", ConfigurationError)
    assert "is Redis 6.0.16: version 6.2 or newer is needed" in said


async def test_server_knows_no_scripts() -> None:
    """So is what is no Redis at all, or one whose operator has taken scripts away."""
    async with impostor() as other:
        said = await _refusal(f"redis://127.0.0.1:{other.port}/0", ConfigurationError)
    assert "does not know the command 'EVALSHA'" in said


@pytest.mark.parametrize(
    "reply", [b"-LOADING Redis is loading", b"-BUSY Redis is busy", b"-OOM too much", b"-NOREPLICAS no"]
)
async def test_server_that_is_not_ready(reply: bytes) -> None:
    """What passes is waited for; the error then says what the server said, and that nothing was done."""
    async with impostor(EVALSHA=reply) as server:
        with pytest.raises(StorageUnavailable, match=reply.partition(b" ")[2].decode()) as refused:
            async with TaskProcessor(settings_for(f"redis://127.0.0.1:{server.port}/0", command_timeout=QUICK)):
                pass
    assert not refused.value.maybe_accepted


async def test_reply_that_never_comes() -> None:
    """A request that was sent and not answered may have been accepted."""
    with Server() as server:
        async with TaskProcessor(settings_for(server.url, command_timeout=QUICK)) as processor:
            server.freeze()
            with pytest.raises(StorageUnavailable) as refused:
                await processor.enqueue(note, 1)
            assert refused.value.maybe_accepted
