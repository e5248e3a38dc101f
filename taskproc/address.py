"""Reads the address in `settings.redis`. An error says what is wrong with it, and never shows a password."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from taskproc.errors import ConfigurationError

__all__ = ["Address", "Host", "read_address"]

Kind = Literal["direct", "unix", "sentinel", "cluster"]
Host = tuple[str, int]

KINDS: Mapping[str, Kind] = {
    "redis": "direct",
    "rediss": "direct",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
FORMS = (
    "redis://host:6379/0, rediss://host, unix:///path, redis+sentinel://h1,h2/name, redis+cluster://h1,h2, "
    "rediss+… for TLS, embedded, or embedded:///directory"
)
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]*)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where Redis is, and how to get in."""

    kind: Kind
    shown: str
    """The address without user, password and options."""
    secure: bool = False
    hosts: tuple[Host, ...] = ()
    path: str = ""
    """The socket of a `unix://` address."""
    master: str = ""
    """The name under which Sentinels know the server."""
    db: int = 0
    login: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """`username` and `password`, if given."""
    sentinel_login: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tls: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Options of the driver for an encrypted connection."""
    max_connections: int | None = None


def read_address(url: str) -> Address:
    """What the URL says; ConfigurationError when it cannot be used."""
    parts = _split(url)
    kind, secure = KINDS[parts.scheme], parts.scheme.startswith("rediss")
    options = _options(parts)
    hosts = () if kind == "unix" else _hosts(parts, 26379 if kind == "sentinel" else 6379)
    place = _socket(parts) if kind == "unix" else _place(parts, kind)
    tls = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
    if tls and not secure:
        raise _refusal(parts.scheme, "its ssl_… options need an encrypted connection: rediss://… or rediss+…://…")
    sentinel_login = {name: options.pop(f"sentinel_{name}") for name in _LOGIN if f"sentinel_{name}" in options}
    login = _login(parts) | {name: options.pop(name) for name in _LOGIN if name in options}
    rest: dict[str, Any] = {"shown": _shown(parts.scheme, hosts, place), **place, **options}
    return Address(kind=kind, secure=secure, hosts=hosts, login=login, sentinel_login=sentinel_login, tls=tls, **rest)


def _refusal(scheme: str, why: str) -> ConfigurationError:
    """Shows nothing else of the address: what seems to be a host may be the half of a password."""
    return ConfigurationError(f"redis='{scheme}://…' is not a server address: {why}")


def _split(url: str) -> SplitResult:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in KINDS:
        raise ConfigurationError(f"`redis` is not a server address: use {FORMS}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refusal(scheme, "write an IPv6 host as redis://[::1]:6379/0") from None
    astray = "@" in parts.path + parts.query and "@" not in parts.netloc and scheme != "unix"
    if parts.fragment or url.endswith("#") or astray:
        raise _refusal(scheme, "in user, password and path write / ? # @ as %2F %3F %23 %40")
    return parts


# Hosts, socket, database


def _hosts(parts: SplitResult, port: int) -> tuple[Host, ...]:
    found: list[Host] = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(text.strip())
        if match is None or int(match[2] or port) > 65535:  # noqa: PLR2004 - the last port there is
            raise _refusal(parts.scheme, "its host is not host, host:port or [IPv6]:port; write : in a password as %3A")
        found.append((unquote(match[1]).strip("[]") or "localhost", int(match[2] or port)))
    if len(found) > 1 and "+" not in parts.scheme:
        raise _refusal(parts.scheme, "it names more than one host: use redis+sentinel://… or redis+cluster://…")
    return tuple(found)


def _socket(parts: SplitResult) -> dict[str, Any]:
    if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
        raise _refusal(parts.scheme, "name the path of the socket, with three slashes: unix:///run/redis.sock")
    return {"path": unquote(parts.path)}


def _place(parts: SplitResult, kind: Kind) -> dict[str, Any]:
    """What the path says: database, or name of the master and database."""
    segments = [unquote(one) for one in parts.path.split("/") if one]
    place: dict[str, Any] = {}
    if kind == "sentinel":
        if not segments:
            raise _refusal(parts.scheme, "it must name the master: redis+sentinel://h1,h2/mymaster")
        place["master"] = segments.pop(0)
    if len(segments) > 1 or any(not one.isdecimal() for one in segments):
        raise _refusal(parts.scheme, "after the host comes the number of a database, as in redis://host:6379/0")
    if kind == "cluster" and any(int(one) for one in segments):
        raise _refusal(parts.scheme, "a cluster has one database, 0")
    return {**place, "db": int(segments[0])} if segments else place


def _shown(scheme: str, hosts: tuple[Host, ...], place: Mapping[str, Any]) -> str:
    if not hosts:
        return f"{scheme}://{place['path']}"
    names = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)
    return f"{scheme}://{names}" + "".join(f"/{place[part]}" for part in ("master", "db") if part in place)


# User, password, options

_LOGIN = ("username", "password")


def _login(parts: SplitResult) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return {name: unquote(value) for name, value in zip(_LOGIN, (user, password), strict=True) if value}


def _flag(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]


def _one_of(*allowed: str) -> Callable[[str], str]:
    return {name: name for name in allowed}.__getitem__


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


_OPTIONS: Mapping[str, Callable[[str], object]] = {
    "db": int,
    "max_connections": _positive,
    **dict.fromkeys((*_LOGIN, *(f"sentinel_{name}" for name in _LOGIN)), str),
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_ciphers"), str),
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": _flag,
    "ssl_min_version": {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}.__getitem__,
}


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            shown = f" {name!r}" if name.isidentifier() else ""
            known = ", ".join(one for one in _OPTIONS if "password" not in one)
            raise _refusal(parts.scheme, f"there is no option{shown}; known are {known}, …. Time-outs are settings")
        try:
            options[name] = _OPTIONS[name](text)
        except (ValueError, KeyError):
            raise _refusal(parts.scheme, f"its option {name} has no usable value") from None
    return options
