"""A proxy between client and server that loses, cuts, delays and forges replies, or falls silent, when told to."""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, Self

from tests.kit.wire import at_time, is_message, names_of, read_command, read_reply, written

_HOST = "127.0.0.1"

Fate = Literal["pass", "drop", "cut", "silence"]
"""What is to become of a reply."""


class Proxy:
    """Passes everything on to a server on loopback, until told otherwise.

    It has a thread and an event loop of its own, so that it works on while a test's loop is blocked; its methods may
    be called from anywhere and have taken effect when they return. A command is named by its name, a script by its SHA.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.server_port = port
        self._tls = tls
        self.port = 0
        self._counts: Counter[str] = Counter()
        self._plans: dict[str, tuple[Fate | bytes, int]] = {}
        self._delay = 0.0
        self._pieces: tuple[int, random.Random] | None = None
        self._clock = 0.0
        self._messages = True
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

    @property
    def dropped(self) -> int:
        """How many replies were lost."""
        return self._counts["drop"]

    @property
    def cut(self) -> int:
        """How many replies were cut in half."""
        return self._counts["cut"]

    @property
    def silenced(self) -> int:
        """How many connections fell silent."""
        return self._counts["silence"]

    @property
    def answered(self) -> int:
        """How many commands were answered in place of the server."""
        return self._counts["answer"]

    @property
    def messages_dropped(self) -> int:
        """How many messages did not reach their subscriber."""
        return self._counts["message"]

    def drop_reply(self, command: str, times: int = 1) -> None:
        """Lets the next `times` of these commands be executed, loses their replies and resets their connections."""
        self._plan(command, "drop", times)

    def cut_reply(self, command: str, times: int = 1) -> None:
        """Likewise, but the client gets the first half of each reply, and then the end of the connection."""
        self._plan(command, "cut", times)

    def silence(self, command: str, times: int = 1) -> None:
        """Likewise, but the client gets neither the reply nor the end of the connection, which stays silent."""
        self._plan(command, "silence", times)

    def answer(self, command: str, reply: str, times: int = 1) -> None:
        """Answers the next `times` of these commands itself, as in `-LOADING not yet`; the server never sees them."""
        self._plan(command, reply.encode() + b"\r\n", times)

    def split(self, most: int, seed: int = 0) -> None:
        """Sends replies on in pieces of 1 to `most` bytes; 0 ends it."""
        self._call(lambda: setattr(self, "_pieces", (most, random.Random(seed)) if most else None))

    def drop_messages(self, *, drop: bool = True) -> None:
        """Keeps what is published from subscribers, who stay subscribed."""
        self._call(lambda: setattr(self, "_messages", not drop))

    def mute_subscribers(self) -> None:
        """Lets those who are subscribed now hear nothing any more, no answer either; later ones hear all."""
        self._call(self._mute_all)

    def set_clock(self, ahead: float) -> None:
        """Lets scripts think that the server's clock is so many seconds ahead, or behind if negative."""
        self._call(lambda: setattr(self, "_clock", ahead))

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

    def _plan(self, command: str, fate: Fate | bytes, times: int) -> None:
        self._call(lambda: self._plans.update({command.upper(): (fate, times)}))

    def _abort_all(self) -> None:
        for connection in self._connections:
            connection.abort()

    def _mute_all(self) -> None:
        for connection in self._connections:
            connection.mute()

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

    def fate_of(self, words: list[bytes]) -> Fate | bytes:
        """What is to become of the reply to this command, or what to reply at once; counted down."""
        for name in names_of(words):
            fate, left = self._plans.get(name, ("pass", 0))
            if left:
                self._plans[name] = fate, left - 1
                return fate
        return "pass"

    def told_time(self, words: list[bytes]) -> list[bytes]:
        """The command as the server is to see it."""
        return at_time(words, lambda: time.time() + self._clock) if self._clock else words

    def lets_through(self, reply: bytes) -> bool:
        """Whether a subscriber may get this."""
        if self._messages or not is_message(reply):
            return True
        self.count("message")
        return False

    def pieces_of(self, reply: bytes) -> list[bytes]:
        """The reply, in the pieces in which it is to be sent."""
        if self._pieces is None:
            return [reply]
        most, chance = self._pieces
        pieces: list[bytes] = []
        while reply:
            size = chance.randint(1, most)
            pieces.append(reply[:size])
            reply = reply[size:]
        return pieces

    def count(self, what: str) -> None:
        """Notes that it has happened."""
        self._counts[what] += 1


class _Connection:
    """One client, and the proxy's connection to the server for it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._server: asyncio.StreamWriter | None = None
        self._fates: deque[Fate] = deque()
        self._subscribed = self._muted = False

    def mute(self) -> None:
        """Keeps everything from the client, if it is subscribed."""
        self._muted = self._subscribed

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
            words = await read_command(self._reader)
            await self._proxy.may_pass()
            fate = self._proxy.fate_of(words)
            if isinstance(fate, bytes):  # clients here wait for each reply, so that none is under way
                self._proxy.count("answer")
                self._writer.write(fate)
                await self._writer.drain()
                continue
            self._subscribed = self._subscribed or words[0].upper() == b"SUBSCRIBE"
            self._fates.append(fate)
            server.write(written(self._proxy.told_time(words)))
            await server.drain()

    async def _replies(self, server: asyncio.StreamReader, requests: asyncio.StreamWriter) -> None:
        while True:
            reply = await read_reply(server)
            fate: Fate = self._fates.popleft() if self._fates and not self._subscribed else "pass"
            if fate == "silence":
                self._proxy.count(fate)
                await asyncio.Event().wait()
            if fate != "pass":
                requests.write_eof()  # the server executes all that it was sent, then ends the connection too
                await server.read()
                self._proxy.count(fate)
                if fate == "cut":  # and the connection ends in order: a reset could take this half with it
                    await self._send(reply[: max(len(reply) // 2, 1)])
                else:
                    self.abort()
                return
            await self._proxy.may_reply()
            if not self._subscribed or (not self._muted and self._proxy.lets_through(reply)):
                await self._send(reply)

    async def _send(self, reply: bytes) -> None:
        for piece in self._proxy.pieces_of(reply):
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)  # so that each goes on its way by itself


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # the other side was faster
        await writer.wait_closed()
