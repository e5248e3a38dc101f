"""Users with few rights, as the documentation gives them."""

import os
import re
import secrets
from typing import Any, Literal
from urllib.parse import urlsplit

import redis

from tests.kit.processes import ROOT

Role = Literal["worker", "producer", "reader"]

PASSWORD = "pass/wörd?#@:"
PREFIX = "{taskproc}"

_restricted: dict[str, redis.Redis] = {}
"""By the server's URL."""


def documented(role: Role) -> list[str]:
    """What follows the name in the documented ACL SETUSER."""
    page = (ROOT / "docs" / "connections.md").read_text(encoding="utf-8")
    found = re.search(rf"^```acl\nACL SETUSER {role} (.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None, role
    return found[1].split()


def commands_of(role: Role) -> set[str]:
    """The commands that the user may run, in capitals."""
    return {word[1:].upper() for word in documented(role) if word.startswith("+")}


def create_user(client: redis.Redis, role: Role, prefix: str, *more: str, without: str = "") -> str:
    """Creates the documented user for another prefix, with `more` rules, or `without` a command; its login in a URL."""
    rules = [word.replace(PREFIX, prefix).replace(">secret", f">{PASSWORD}") for word in documented(role)]
    name = f"{role}-{secrets.token_hex(4)}"
    words = ["ACL", "SETUSER", name, "reset", *rules, *more, *([f"-{without.lower()}"] if without else [])]
    untyped: Any = client
    untyped.execute_command(*words)
    return login(name)


def login(name: str, password: str = PASSWORD) -> str:
    """User and password as they stand in a URL."""
    quoted = "".join(f"%{byte:02X}" for byte in password.encode())
    return f"{name}:{quoted}"


def as_user(url: str, login_: str) -> str:
    """The URL of a server, with a login."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login_}@{parts.hostname}:{parts.port}").geturl()


def is_wanted() -> bool:
    """Whether the tests of storage and worker are to run as the documented worker."""
    return bool(os.environ.get("TASKPROC_TEST_ACL"))


def restricted(client: redis.Redis) -> redis.Redis:
    """The client that scripts are to be run with: the documented worker, if that is wanted."""
    if not is_wanted():
        return client
    place: dict[str, Any] = client.connection_pool.connection_kwargs
    url = f"redis://{place['host']}:{place['port']}/{place['db']}"
    if url not in _restricted:
        user = create_user(client, "worker", "{*}", "+select")
        _restricted[url] = redis.Redis.from_url(as_user(url, user), protocol=2)
    return _restricted[url]
