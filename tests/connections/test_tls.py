"""Encrypted connections: certificates are verified, and what is wrong with one is said without a password."""

import asyncio
import logging
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from taskproc import ConfigurationError, StorageUnavailable, TaskProcessor, background
from tests.connections.impostor import encoded, impostor
from tests.connections.kit import settings_for
from tests.kit import Proxy, Server, wait_until
from tests.kit.topologies import command

SECRET = "s3cret"
_SLOTS = 16384


@background
async def nothing() -> None:
    """Its end is all that counts."""


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    """The CA as clients name it."""
    file = tmp_path / "our ca+1.pem"
    ca.cert_pem.write_to_path(str(file))
    return file


def _certificates(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@contextmanager
def _encrypted(context: ssl.SSLContext, **options: str | int) -> Generator[Proxy]:
    """A server that wants a password, behind a proxy that speaks TLS."""
    with Server(requirepass=SECRET, **options) as server, Proxy(server.port, context) as proxy:
        yield proxy


def _address(proxy: Proxy, **options: object) -> str:
    query = "&".join(f"{name}={str(value).replace('+', '%2B')}" for name, value in options.items())
    return f"rediss://:{SECRET}@127.0.0.1:{proxy.port}/0?{query}"


async def _refusal(address: str, kind: type[Exception], **overrides: object) -> str:
    """What the error says; it comes at once if waiting is no use."""
    with pytest.raises(kind) as refused:
        async with TaskProcessor(settings_for(address, **overrides)):
            pass
    return str(refused.value)


async def test_all_connections_are_encrypted(ca: trustme.CA, ca_file: Path) -> None:
    """Commands, blocking pops, events and the heartbeat's thread go through TLS, with the CA that the URL names."""
    with _encrypted(_certificates(ca, "127.0.0.1")) as proxy:
        settings = settings_for(_address(proxy, ssl_ca_certs=ca_file), worker_timeout=0.3)
        async with TaskProcessor(settings) as processor:
            worker = asyncio.create_task(processor.run())
            task_id = await processor.enqueue(nothing)
            await wait_until(lambda: _has_ended(processor, task_id), what="the end of the task")
            await asyncio.sleep(0.6)
            (seen,) = await processor.get_workers()
            assert seen.alive_until > datetime.now(UTC)
            await processor.stop()
            await worker


async def _has_ended(processor: TaskProcessor, task_id: str) -> bool:
    return await processor.get_task(task_id) is None


async def test_unknown_ca(ca: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    """Without its CA a certificate is refused at once, with a word on what to do; no password is shown."""
    caplog.set_level(logging.DEBUG)
    with _encrypted(_certificates(ca, "127.0.0.1")) as proxy:
        said = await _refusal(_address(proxy), ConfigurationError)
    assert f"rediss://127.0.0.1:{proxy.port}/0 shows a certificate that is not trusted" in said
    assert "?ssl_ca_certs=" in said
    assert SECRET not in said + caplog.text


async def test_wrong_host(ca: trustme.CA, ca_file: Path) -> None:
    """A certificate of another host is refused, unless the URL says not to look."""
    with _encrypted(_certificates(ca, "other.example")) as proxy:
        said = await _refusal(_address(proxy, ssl_ca_certs=ca_file), ConfigurationError)
        assert "127.0.0.1" in said.partition("not trusted")[2]
        for option in ({"ssl_check_hostname": "no", "ssl_ca_certs": ca_file}, {"ssl_cert_reqs": "none"}):
            async with TaskProcessor(settings_for(_address(proxy, **option))) as processor:
                assert await processor.get_queues()


async def test_server_wants_a_certificate(ca: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    """A client gets in with a certificate of its own, and not without."""
    context = _certificates(ca, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    own = ca.issue_cert("client.example")
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = {"ssl_certfile": tmp_path / "cert.pem", "ssl_keyfile": tmp_path / "key.pem"}
    with _encrypted(context) as proxy:
        said = await _refusal(_address(proxy, ssl_ca_certs=ca_file), StorageUnavailable, command_timeout=0.5)
        assert f"127.0.0.1:{proxy.port}" in said
        async with TaskProcessor(settings_for(_address(proxy, ssl_ca_certs=ca_file, **files))) as processor:
            assert await processor.get_queues()


async def test_files_that_cannot_be_read(ca_file: Path) -> None:
    """A wrong path is named, before anything is sent."""
    for option in ("ssl_ca_certs", "ssl_certfile"):
        said = await _refusal(f"rediss://:{SECRET}@127.0.0.1:1/0?{option}=/no/such.pem", ConfigurationError)
        assert f"{option}=/no/such.pem" in said
        assert SECRET not in said


async def test_encrypted_and_plain_do_not_meet(ca: trustme.CA) -> None:
    """TLS to a plain port, and plain to a TLS port, end in an error that names the server."""
    with Server() as server, Proxy(server.port, _certificates(ca, "127.0.0.1")) as proxy:
        for address in (f"rediss://127.0.0.1:{server.port}/0", f"redis://127.0.0.1:{proxy.port}/0"):
            said = await _refusal(address, StorageUnavailable, command_timeout=0.5)
            assert f"{address} cannot be reached" in said


async def test_encrypted_cluster(ca: trustme.CA, ca_file: Path) -> None:
    """Asking for the owner of the slot is encrypted too."""
    context = _certificates(ca, "127.0.0.1")
    with Server(cluster_enabled="yes", requirepass=SECRET) as server, Proxy(server.port, context) as proxy:
        command(server, "CONFIG", "SET", "cluster-announce-port", proxy.port)
        command(server, "CLUSTER", "ADDSLOTSRANGE", 0, _SLOTS - 1)
        address = _address(proxy, ssl_ca_certs=ca_file).replace("rediss:", "rediss+cluster:")
        async with TaskProcessor(settings_for(address)) as processor:
            assert await processor.cancel_task(await processor.enqueue(nothing))
        said = await _refusal(address.partition("?")[0], ConfigurationError)
        assert "not trusted" in said


async def test_encrypted_sentinel(ca: trustme.CA, ca_file: Path) -> None:
    """Sentinels are asked by TLS too, with the same certificates, and the master that they name is."""
    with _encrypted(_certificates(ca, "127.0.0.1")) as master:
        async with impostor(SENTINEL=encoded(["127.0.0.1", master.port])) as sentinel:
            with Proxy(sentinel.port, _certificates(ca, "127.0.0.1")) as encrypted:
                address = _address(encrypted, ssl_ca_certs=ca_file).replace("rediss:", "rediss+sentinel:")
                address = address.replace("/0?", "/main?")
                async with TaskProcessor(settings_for(address)) as processor:
                    assert await processor.cancel_task(await processor.enqueue(nothing))
                said = await _refusal(address.partition("?")[0], ConfigurationError)
                assert "not trusted" in said
