"""Nothing is used that Redis 6.2 lacks. There is no such server to run the tests on, so each word is looked up."""

import ast
import re
from collections.abc import Callable

import pytest

from taskproc.scripts import scripts
from tests.connections.test_acl import TRIED, TRIED_OUTSIDE
from tests.kit import acl
from tests.kit.processes import ROOT

OLDEST = (6, 2)

COMMANDS = {
    "BLPOP": (2, 0),  # with a fraction of a second: 6.0
    "CLUSTER": (3, 0),
    "DEL": (1, 0),
    "EVAL": (2, 6),
    "EVALSHA": (2, 6),
    "EXISTS": (1, 0),  # with several keys: 3.0
    "EXPIRE": (1, 0),
    "HDEL": (2, 0),
    "HELLO": (6, 0),
    "HEXISTS": (2, 0),
    "HGET": (2, 0),
    "HGETALL": (2, 0),
    "HINCRBY": (2, 0),
    "HLEN": (2, 0),
    "HMGET": (2, 0),
    "HSET": (2, 0),  # with several fields: 4.0
    "LLEN": (1, 0),
    "LPOP": (1, 0),  # with a count: 6.2
    "LPOS": (6, 0),
    "LPUSH": (1, 0),
    "LRANGE": (1, 0),
    "LREM": (1, 0),
    "PING": (1, 0),
    "PUBLISH": (2, 0),
    "RPUSH": (1, 0),
    "SADD": (1, 0),
    "SCARD": (1, 0),
    "SENTINEL": (2, 8),
    "SMEMBERS": (1, 0),
    "SRANDMEMBER": (1, 0),  # with a count: 2.6
    "SREM": (1, 0),
    "SSCAN": (2, 8),
    "SUBSCRIBE": (2, 0),
    "TIME": (2, 6),
    "UNLINK": (4, 0),
    "ZADD": (1, 2),
    "ZCARD": (1, 2),
    "ZLEXCOUNT": (2, 8),
    "ZRANGE": (1, 2),
    "ZRANGEBYLEX": (2, 8),
    "ZRANGEBYSCORE": (1, 0),
    "ZREM": (1, 2),
    "ZREVRANGE": (1, 2),
    "ZSCORE": (1, 2),
}
"""Since when there is each command, from the documentation of Redis."""

OPTIONS = {
    "COUNT": (2, 8),  # SSCAN
    "GET-MASTER-ADDR-BY-NAME": (2, 8),  # SENTINEL
    "GT": (6, 2),  # ZADD
    "LIMIT": (2, 2),  # ZRANGEBYSCORE, ZRANGEBYLEX
    "MAXLEN": (6, 0),  # LPOS
    "SETNAME": (6, 0),  # HELLO
    "SLOTS": (3, 0),  # CLUSTER
    "WITHSCORES": (2, 0),  # ZRANGE
    "XX": (3, 0),  # ZADD
}

LUA = {"call": (2, 6), "pcall": (2, 6)}
"""What scripts may use of `redis.…`."""

NO_WORDS_OF_REDIS = {"OOM", "WRONGTYPE", "ACL"}
"""Parts of errors."""

SENDING = ("driver", "heartbeat", "links", "listener", "looking", "servers", "storage")
"""The modules that name commands."""


def _of_scripts() -> set[str]:
    code = "\n".join(re.sub(r"--.*", "", one.source) for one in scripts().values())
    return set(re.findall(r"'([A-Z]{2,})'", code))


def _of_modules() -> set[str]:
    texts = [(ROOT / "taskproc" / f"{module}.py").read_text(encoding="utf-8") for module in SENDING]
    names = {target.id for text in texts for target in ast.walk(ast.parse(text)) if isinstance(target, ast.Name)}
    constants = [node.value for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return {word for word in constants if isinstance(word, str) and re.fullmatch(r"[A-Z][A-Z-]+", word)} - names


@pytest.mark.parametrize("source", [_of_scripts, _of_modules])
def test_every_word_is_known_to_the_oldest_version(source: Callable[[], set[str]]) -> None:
    """Each command and option is in the tables, and there since 6.2 or longer."""
    words = source() - NO_WORDS_OF_REDIS
    assert len(words) > 10
    for word in words:
        since = COMMANDS.get(word) or OPTIONS.get(word)
        assert since is not None, f"{word}: since when is it there? Add it to the table"
        assert since <= OLDEST, f"{word} is there since {since} only"


def test_tables_have_no_more_than_is_used() -> None:
    """What is no longer used is not in the tables either, nor in what the documented worker may do."""
    assert COMMANDS.keys() | OPTIONS.keys() == (_of_scripts() | _of_modules() | {"SUBSCRIBE"}) - NO_WORDS_OF_REDIS
    assert acl.commands_of("worker") <= COMMANDS.keys()
    assert COMMANDS.keys() >= TRIED | TRIED_OUTSIDE


def test_lua_uses_what_the_oldest_version_has() -> None:
    """Scripts call commands, and use nothing else of the server's Lua interface."""
    used = {name for one in scripts().values() for name in re.findall(r"\bredis\.(\w+)", one.source)}
    assert used == LUA.keys()
    assert not any(one.source.startswith("#!") for one in scripts().values())
