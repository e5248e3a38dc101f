"""The check for keys left behind: when all work is settled, only what KEPT names may be there."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A family of keys that may stay; `still` says of one of them, given the match of its name, whether it may."""

    name: str
    why: str
    still: Callable[[redis.Redis, str, re.Match[str]], bool] = lambda _client, _prefix, _name: True


def _has_ended(client: redis.Redis, prefix: str, name: re.Match[str]) -> bool:
    return client.hexists(f"{prefix}:batch:{name['batch']}", "end")


def _rests(client: redis.Redis, prefix: str, name: re.Match[str]) -> bool:
    """Whether a task is dead, or a continuation that nothing has fired, of a batch that has ended."""
    state = client.hget(f"{prefix}:{name[0]}", "s")
    return state == b"x" or (state == b"h" and _has_ended(client, prefix, name))


def _expires(client: redis.Redis, prefix: str, name: re.Match[str]) -> bool:
    return client.ttl(f"{prefix}:{name[0]}") > 0


KEPT = (
    Kept(name="meta", why="the schema, and whether the system is paused"),
    Kept(name="queues", why="names that were used"),
    Kept(name="tenants", why="names that were used"),
    Kept(name="audit", why="the last acts, for ever"),
    Kept(name="done", why="requests of the last minute that leave no other trace"),
    Kept(name=r"statistics:\d+:\d+", why="what was done, for three days at most", still=_expires),
    Kept(name="worker:[^:]+:stacks", why="what a worker was doing, for a minute", still=_expires),
    Kept(name="ended", why="ended batches, until their retention"),
    Kept(name="batches:[^:]+", why="ended batches, until their retention"),
    Kept(name="batch:(?P<batch>[^:]+)(:chunks|:then)?", why="an ended batch, until its retention", still=_has_ended),
    Kept(name="queue:[^:]+:dead", why="dead tasks, until somebody retries or discards them"),
    Kept(name=r"task:(?P<batch>[^.]+).*", why="a dead task, or a continuation that did not fire", still=_rests),
)


def assert_no_leaks(client: redis.Redis, prefix: str) -> None:
    """AssertionError naming each key under the prefix that KEPT does not allow."""
    left = sorted(name for name in _names(client, prefix) if not _is_kept(client, prefix, name))
    if left:
        shown = "\n".join(f"  {prefix}:{name} {_content(client, f'{prefix}:{name}')}" for name in left[:20])
        raise AssertionError(f"{len(left)} keys left behind:\n{shown}")


def delete_keys(client: redis.Redis, prefix: str) -> None:
    """Deletes everything under the prefix."""
    for name in list(_names(client, prefix)):
        client.unlink(f"{prefix}:{name}")


def _names(client: redis.Redis, prefix: str) -> Iterator[str]:
    for key in cast("Iterator[bytes]", client.scan_iter(match=f"{prefix}:*", count=1000)):
        yield key.decode().removeprefix(f"{prefix}:")


def _is_kept(client: redis.Redis, prefix: str, name: str) -> bool:
    matches = ((kept, re.fullmatch(kept.name, name)) for kept in KEPT)
    return any(match and kept.still(client, prefix, match) for kept, match in matches)


def _content(client: redis.Redis, key: str) -> str:
    """What the key holds, shortened: enough to see who left it."""
    read: dict[str, Callable[[], object]] = {
        "hash": lambda: client.hgetall(key),
        "list": lambda: client.lrange(key, 0, 9),
        "set": lambda: client.srandmember(key, 10),
        "zset": lambda: client.zrange(key, 0, 9, withscores=True),
        "string": lambda: client.get(key),
    }
    kind = cast("bytes", client.type(key)).decode()
    return f"({kind}) {str(read[kind]())[:300]}" if kind in read else f"({kind})"
