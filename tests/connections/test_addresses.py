"""Every form of address is read as the documentation says, and a wrong one is refused without showing a password."""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from taskproc import ConfigurationError, TaskProcessor, background
from taskproc.address import Address, read_address
from tests.connections.kit import settings_for
from tests.kit import Server, wait_until

LOCAL = (("localhost", 6379),)
GOOD: dict[str, dict[str, Any]] = {
    "redis://": {"hosts": LOCAL, "shown": "redis://localhost:6379"},
    "redis://h": {"hosts": (("h", 6379),)},
    "redis://h:7/3": {"hosts": (("h", 7),), "db": 3, "shown": "redis://h:7/3"},
    "redis://h?db=4": {"db": 4},
    "redis://:pw@h": {"login": {"password": "pw"}, "shown": "redis://h:6379"},
    "redis://u:p%2Fw%40%3F@h": {"login": {"username": "u", "password": "p/w@?"}},
    "redis://u:p@w@h:7": {"login": {"username": "u", "password": "p@w"}, "hosts": (("h", 7),)},
    "redis://h?username=u&password=a%26b": {"login": {"username": "u", "password": "a&b"}},
    "redis://[::1]:7/0": {"hosts": (("::1", 7),), "shown": "redis://[::1]:7/0"},
    "redis://h?max_connections=5": {"max_connections": 5},
    "rediss://h": {"secure": True, "tls": {}},
    "rediss://h?ssl_ca_certs=/a%20b/ca.pem&ssl_check_hostname=no": {
        "tls": {"ssl_ca_certs": "/a b/ca.pem", "ssl_check_hostname": False}
    },
    "rediss://h?ssl_cert_reqs=none&ssl_min_version=1.3": {
        "tls": {"ssl_cert_reqs": "none", "ssl_min_version": ssl.TLSVersion.TLSv1_3}
    },
    "unix:///run/r.sock": {"kind": "unix", "path": "/run/r.sock", "shown": "unix:///run/r.sock"},
    "unix:///run/a%20b%23%3F@c.sock?db=2": {"path": "/run/a b#?@c.sock", "db": 2},
    "unix://u:p@/run/r.sock": {"login": {"username": "u", "password": "p"}, "shown": "unix:///run/r.sock"},
    "redis+sentinel://a,b:7/main": {
        "kind": "sentinel",
        "hosts": (("a", 26379), ("b", 7)),
        "master": "main",
        "shown": "redis+sentinel://a:26379,b:7/main",
    },
    "redis+sentinel://u:p@a/main/2?sentinel_username=s&sentinel_password=q": {
        "master": "main",
        "db": 2,
        "login": {"username": "u", "password": "p"},
        "sentinel_login": {"username": "s", "password": "q"},
        "shown": "redis+sentinel://a:26379/main/2",
    },
    "rediss+sentinel://a/main": {"kind": "sentinel", "secure": True},
    "redis+cluster://:p@a,b:7": {"kind": "cluster", "hosts": (("a", 6379), ("b", 7)), "login": {"password": "p"}},
    "rediss+cluster://a/0": {"kind": "cluster", "secure": True},
}

ENCODE = "write / . # @ as %2F %3F %23 %40"
BAD = {
    "localhost:6379": "is not a server address: use redis://",
    "http://h": "is not a server address: use redis://",
    "redis://:12/s3cret@h": ENCODE,
    "redis://:12?s3cret@h": ENCODE,
    "redis://:12#s3cret@h": ENCODE,
    "redis://:s3cret/12@h": ENCODE,
    "redis://u:s3cret:1": "its host is not host, host:port",
    "redis://h:99999": "its host is not host, host:port",
    "redis://[::1": "IPv6",
    "redis://a,b": "more than one host",
    "redis://h/name": "the number of a database",
    "redis://h/1/2": "the number of a database",
    "redis://:s3cret@h?socket_timeout=1": "there is no option 'socket_timeout'",
    "redis://:s3cret@h?db=one": "its option db has no usable value",
    "redis://h?max_connections=0": "its option max_connections has no usable value",
    "redis://h?ssl_ca_certs=/ca.pem": "need an encrypted connection",
    "rediss://h?ssl_cert_reqs=CERT_NONE": "its option ssl_cert_reqs",
    "rediss://h?ssl_check_hostname=maybe": "its option ssl_check_hostname",
    "unix://run/r.sock": "three slashes",
    "unix:///": "three slashes",
    "unix:///run/a#b.sock": ENCODE,
    "redis+sentinel://a,b": "must name the master",
    "redis+sentinel://a/main/x": "the number of a database",
    "redis+cluster://a/1": "one database",
}


@pytest.mark.parametrize("url", GOOD)
def test_address_is_read(url: str) -> None:
    """Host, login, database and options are what the URL says."""
    address = read_address(url)
    assert {name: getattr(address, name) for name in GOOD[url]} == GOOD[url]


@pytest.mark.parametrize("url", BAD)
async def test_bad_address_is_refused(url: str) -> None:
    """The error says what is wrong; it comes at the start, and shows nothing of what may be a password."""
    with pytest.raises(ConfigurationError, match=BAD[url].replace("+", r"\+")) as refused:
        async with TaskProcessor(settings_for(url)):
            pass
    assert "s3cret" not in str(refused.value)


def test_repr_shows_no_password() -> None:
    """Whoever logs an address logs no login."""
    address = read_address("rediss+sentinel://u:s3cret@a/main?sentinel_password=s3cret&ssl_password=s3cret")
    assert isinstance(address, Address)
    assert "s3cret" not in repr(address)


@background
async def nothing() -> None:
    """Its end is all that counts."""


@pytest.mark.parametrize("password", ["", "p@ss:/?#[]%25 wörd+&="], ids=["no password", "password"])
async def test_socket_with_odd_characters(tmp_path: Path, password: str) -> None:
    """A path may have any characters, %-encoded, and all kinds of connections go through the socket."""
    path = tmp_path / "a b#c?d%25@ü.sock"
    options = {"requirepass": password} if password else {}
    with Server(unixsocket=str(path), **options):
        login = f"default:{quote(password, safe='')}@" if password else ""
        address = f"unix://{login}{quote(str(path), safe='/')}"
        async with TaskProcessor(settings_for(address, worker_timeout=0.3)) as processor:
            worker = asyncio.create_task(processor.run())
            task_id = await processor.enqueue(nothing)
            await wait_until(lambda: _has_ended(processor, task_id), what="the end of the task")
            await processor.stop()
            await worker


async def _has_ended(processor: TaskProcessor, task_id: str) -> bool:
    return await processor.get_task(task_id) is None


async def test_socket_refuses_a_wrong_password(tmp_path: Path) -> None:
    """A wrong password is an error at once, as it is over the network."""
    path = tmp_path / "r.sock"
    refused_by = f"unix://{path} refuses this user"
    with (
        Server(unixsocket=str(path), requirepass="right"),
        pytest.raises(ConfigurationError, match=refused_by) as refused,
    ):
        async with TaskProcessor(settings_for(f"unix://:s3cret@{path}")):
            pass
    assert "s3cret" not in str(refused.value)


async def test_database_of_the_address(tmp_path: Path) -> None:
    """Keys are written to the database that the address names."""
    with Server() as server:
        async with TaskProcessor(settings_for(f"redis://127.0.0.1:{server.port}/7")) as processor:
            await processor.enqueue(nothing)
        with server.client() as client:
            assert client.dbsize() == 0
            assert client.info("keyspace")["db7"]["keys"] > 0
