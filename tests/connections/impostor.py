"""A server that has one reply for each command, whatever it is asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager


class Impostor:
    """Its port, and what it was asked."""

    def __init__(self, replies: dict[str, bytes]) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.replies = replies

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one client until it goes."""
        try:
            while head := await reader.readline():
                words = [await self._word(reader) for _ in range(int(head[1:]))]
                self.asked[words[0]] += 1
                writer.write(self.replies.get(words[0], b"-ERR unknown command '%s'" % words[0].encode()) + b"\r\n")
        finally:
            writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> str:
        size = int((await reader.readline())[1:])
        return (await reader.readexactly(size + 2))[:-2].decode(errors="replace")


@asynccontextmanager
async def impostor(**replies: bytes) -> AsyncGenerator[Impostor]:
    """A server with these replies, as they go over the wire but for the last line break."""
    made = Impostor(replies)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


Reply = str | int | Sequence["Reply"]


def encoded(reply: Reply) -> bytes:
    """A reply of lists, numbers and texts."""
    match reply:
        case str():
            text = reply.encode()
            return b"$%d\r\n%s" % (len(text), text)
        case int():
            return b":%d" % reply
        case _:
            return b"\r\n".join([b"*%d" % len(reply), *map(encoded, reply)])
