"""A proxy between a client and its server that loses replies, falls silent or cuts connections when told to."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

_HOST = "127.0.0.1"
_CHUNK = 65_536


class Proxy:
    """Passes everything on to a server on loopback, until told otherwise.

    It has a thread and an event loop of its own, so that it works on while a test's loop is blocked; its methods may
    be called from anywhere and have taken effect when they return.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.server_port = port
        self._tls = tls
        self.port = 0
        self.dropped = 0
        self._drops: dict[str, int] = {}
        self._delay = 0.0
        self._connections: set[_Connection] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """Where clients connect to; encrypted, if the proxy was given certificates."""
        return f"{'rediss' if self._tls else 'redis'}://{_HOST}:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def drop_reply(self, command: str, times: int = 1) -> None:
        """Lets the next `times` commands with this name, or scripts with this SHA, be executed, and loses the reply.

        The client's connection is reset once the server has executed the command. Replies to commands that the
        client had sent before on the same connection, and not yet seen, are lost with it. `dropped` counts.
        """
        self._call(lambda: self._drops.update({command.upper(): times}))

    def delay(self, milliseconds: float) -> None:
        """Holds each reply back for so long; 0 ends it."""
        self._call(lambda: setattr(self, "_delay", milliseconds / 1000))

    def blackhole(self) -> None:
        """Falls silent: connections stay open and new ones are accepted, but nothing comes through until `heal`."""
        self._call(self._open.clear)

    def heal(self) -> None:
        """Ends `blackhole`; what was sent meanwhile arrives now, as it does after a network partition."""
        self._call(self._open.set)

    def close_all(self) -> None:
        """Resets all connections there are; new ones are welcome."""
        self._call(self._abort_all)

    def close(self) -> None:
        """Resets all connections and stops listening."""
        self._call(self._stop.set)
        self._thread.join(5)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(5):
            raise AssertionError("the proxy did not start")
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        server = await asyncio.start_server(self._accept, _HOST, 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._abort_all()
        self._open.set()
        while self._connections:
            await asyncio.sleep(0.001)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            await _close(writer)
            self._connections.discard(connection)

    def _abort_all(self) -> None:
        for connection in self._connections:
            connection.abort()

    def _call(self, function: Callable[[], object]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(5)

    # What connections ask.

    async def may_pass(self) -> None:
        """Returns at once, or when the blackhole ends."""
        await self._open.wait()

    async def may_reply(self) -> None:
        """Returns when a reply may go to its client."""
        await asyncio.sleep(self._delay)
        await self._open.wait()

    def shall_drop(self, words: list[bytes]) -> bool:
        """Whether the reply to this command is to be lost; counted down."""
        for name in _names(words):
            if self._drops.get(name):
                self._drops[name] -= 1
                return True
        return False


class _Connection:
    """One client, and the proxy's connection to the server for it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._server: asyncio.StreamWriter | None = None
        self._dropping = False

    def abort(self) -> None:
        """Resets the client's connection, and the one to the server."""
        for writer in (self._writer, self._server):
            if writer and not writer.is_closing():
                reset_at_once = struct.pack("ii", 1, 0)
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_once)
                writer.transport.abort()

    async def run(self) -> None:
        """Passes requests and replies on until one side has gone."""
        await self._proxy.may_pass()
        try:
            replies, self._server = await asyncio.open_connection(_HOST, self._proxy.server_port)
        except OSError:
            self.abort()
            return
        pumps = [
            asyncio.create_task(self._requests(self._server)),
            asyncio.create_task(self._replies(replies, self._server)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _close(self._server)

    async def _requests(self, server: asyncio.StreamWriter) -> None:
        while True:
            raw, words = await _read_command(self._reader)
            await self._proxy.may_pass()
            if self._proxy.shall_drop(words):
                self._dropping = True
            server.write(raw)
            await server.drain()

    async def _replies(self, server: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        while data := await server.read(_CHUNK):
            if self._dropping:
                requests.write_eof()  # the server executes all that it was sent, then ends the connection too
                await server.read()
                self._proxy.dropped += 1
                self.abort()
                return
            await self._proxy.may_reply()
            self._writer.write(data)
            await self._writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # the other side was faster
        await writer.wait_closed()


async def _read_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """The next command as it was sent, and its words; IncompleteReadError when the client has gone."""
    raw = await reader.readuntil(b"\n")
    words: list[bytes] = []
    for _ in range(int(raw[1:])):
        size = await reader.readuntil(b"\n")
        word = await reader.readexactly(int(size[1:]) + 2)
        raw += size + word
        words.append(word[:-2])
    return raw, words


def _names(words: list[bytes]) -> list[str]:
    """What a command goes by: its name, and the SHA of its script."""
    name = words[0].decode().upper()
    if name in {"EVALSHA", "EVALSHA_RO"}:
        return [name, words[1].decode().upper()]
    if name in {"EVAL", "EVAL_RO"}:
        return [name, hashlib.sha1(words[1], usedforsecurity=False).hexdigest().upper()]
    return [name]
