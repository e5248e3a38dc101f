"""What an error of the server, or of the way to it, means: not executed, maybe executed, refused for good, or a bug."""

from __future__ import annotations

import re
import ssl

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskproc.errors import ConfigurationError

__all__ = ["UNKNOWN_OUTCOME", "Unfit", "Unreached", "explain", "is_elsewhere", "is_not_executed"]

UNKNOWN_OUTCOME = (RedisConnectionError, RedisTimeoutError, OSError)
"""The request may or may not have been carried out."""
ELSEWHERE = frozenset({"ASK", "CLUSTERDOWN", "MASTERDOWN", "MOVED", "NOREPLICAS", "READONLY"})
"""Not executed: another server has the data, or may have them by now. A master that lost its replicas may be the old
one of two, for the seconds until somebody tells it.
"""
NOT_NOW = frozenset({"BUSY", "LOADING", "MISCONF", "OOM", "TRYAGAIN", "UNBLOCKED"})
"""Not executed, but it may be later."""
REFUSED = frozenset({"NOPERM", "WRONGPASS"})

_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -([A-Z]+) ")  # how Redis 6.2 reports an error of a command in a script
_CODE = re.compile(r"([A-Z]+) ")
_WHERE = re.compile(r" script: (?:\w+, )?on ")  # what Redis 7 and Valkey append
_REFUSED_IN_SCRIPT = re.compile(r"ACL failure in script: |The user executing the script can't ")


class Unreached(RedisConnectionError):
    """No connection came about, so nothing was sent."""


class Unfit(RedisError):
    """The server is not one that can be used; the message says why."""


def is_not_executed(error: Exception) -> bool:
    """Whether the request was certainly not carried out, but may be later."""
    return isinstance(error, Unreached) or _code(error) in ELSEWHERE | NOT_NOW


def is_elsewhere(error: Exception) -> bool:
    """Whether the data may be on another server."""
    return _code(error) in ELSEWHERE


def explain(error: Exception, address: str) -> ConfigurationError | None:
    """The error to be raised when repeating is no use: the server does not let us in, or is not what we need; None
    for other errors.
    """
    why = _refusal(error) or _misfit(error, address)
    return None if why is None else ConfigurationError(f"the server at {address} {why}")


def _refusal(error: Exception) -> str | None:
    text = str(error).rstrip(".")
    if _code(error) == "NOAUTH":
        return "wants a password: name user and password in `redis`, as in redis://user:password@host:6379/0"
    if isinstance(error, AuthenticationError | AuthorizationError) or _code(error) in REFUSED:
        return (
            f"refuses this user: {text}. Check user and password in `redis`, and what the user may do: "
            "docs/connections.md lists the commands, keys and channels that it needs."
        )
    if _REFUSED_IN_SCRIPT.search(text):
        return (
            f"lets this user run scripts, but not what they do: {_WHERE.split(text)[0]}. Give it the "
            "commands, keys and channels that docs/connections.md lists."
        )
    if (untrusted := _untrusted(error)) is not None:
        return (
            f"shows a certificate that is not trusted: {untrusted.verify_message}. Name the CA that signed it, as in "
            "rediss://host:6379/0?ssl_ca_certs=/path/ca.pem"
        )
    return None


def _misfit(error: Exception, address: str) -> str | None:
    text = str(error)
    if isinstance(error, Unfit):
        return text
    if text.startswith("unknown command"):
        command = text.partition(",")[0].split()[-1]
        return f"does not know the command {command}: Redis 6.2 or newer is needed, or Valkey"
    if _code(error) in ("MOVED", "ASK") and "+cluster:" not in address:
        return "is a node of a cluster, and the data are on another node: use redis+cluster://…"
    return None


def _code(error: Exception) -> str:
    """`READONLY` of a reply "READONLY You can't…", the driver takes it off some; "" if it is no reply."""
    if not isinstance(error, RedisError):
        return ""
    text = str(error)
    if in_script := _IN_SCRIPT.findall(text):
        return str(in_script[-1])
    if error.status_code:
        return error.status_code
    match = _CODE.match(text)
    return match[1] if match else ""


def _untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The reason behind an error of the driver, if it is a certificate."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
