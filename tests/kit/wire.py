"""What goes over the connection between a client and its server, read in whole commands and whole replies."""

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

_SIZED = b"$!="  # a length, then so many bytes
_HOLDS_MORE = {b"*": 1, b"~": 1, b">": 1, b"%": 2}  # a number, then so many replies, or twice as many


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The words of the next command; IncompleteReadError when the client has gone."""
    words: list[bytes] = []
    for _ in range(int((await reader.readuntil(b"\n"))[1:])):
        size = int((await reader.readuntil(b"\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """The next reply as it was sent; IncompleteReadError when the server has gone."""
    line = await reader.readuntil(b"\n")
    kind, size = line[:1], line[1:-2]
    if kind in _SIZED and int(size) >= 0:
        return line + await reader.readexactly(int(size) + 2)
    if kind in _HOLDS_MORE and int(size) > 0:
        return line + b"".join([await read_reply(reader) for _ in range(int(size) * _HOLDS_MORE[kind])])
    return line


def written(words: list[bytes]) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def names_of(words: list[bytes]) -> list[str]:
    """What a command goes by, in capitals: its name, and the SHA of its script."""
    name = words[0].decode().upper()
    if name in {"EVALSHA", "EVALSHA_RO"}:
        return [name, words[1].decode().upper()]
    if name in {"EVAL", "EVAL_RO"}:
        return [name, hashlib.sha1(words[1], usedforsecurity=False).hexdigest().upper()]
    return [name]


def is_message(reply: bytes) -> bool:
    """Whether it is what somebody has published."""
    return reply.startswith((b"*3\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n"))


def at_time(words: list[bytes], now: Callable[[], float]) -> list[bytes]:
    """A script of this project is told a time, epoch seconds, instead of asking the server's clock."""
    if words[0].upper() not in {b"EVAL", b"EVALSHA"}:
        return words
    place = 3 + int(words[2])
    arg = msgspec.msgpack.decode(words[place]) | {"now": int(now() * 1000)}
    return [*words[:place], msgspec.msgpack.encode(arg), *words[place + 1 :]]
