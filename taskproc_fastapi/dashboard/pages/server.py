"""Redis: what it holds, how it is set up, what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass

from taskproc.doctor import Finding, worst
from taskproc.keyspace import Keyspace
from taskproc.server_checks import Info
from taskproc_fastapi.dashboard.formats import count, seconds, size
from taskproc_fastapi.dashboard.pages.overview import findings_of
from taskproc_fastapi.dashboard.view import Page, View

__all__ = ["show"]

MEMORY_LASTS = 60.0  # seconds: a sample costs the server something


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    keyspace: Keyspace
    findings: list[Finding]
    worst: str
    facts: list[tuple[str, str]]


async def show(view: View) -> Page:
    view.need_all_tenants()
    findings = await findings_of(view)
    keyspace = await view.shared.remembered.get("memory", MEMORY_LASTS, view.processor.get_keyspace)
    data = Server(keyspace=keyspace, findings=findings, worst=worst(findings), facts=_facts(keyspace))
    return Page(template="redis.html", title="Redis", data=data)


def _facts(keyspace: Keyspace) -> list[tuple[str, str]]:
    """What INFO said, as far as it said something."""
    info = keyspace.info
    if not info:
        return []
    name = "Valkey" if "valkey_version" in info else "Redis"
    said = [
        ("Server", f"{name} {info.get('valkey_version') or info.get('redis_version', '')}".strip()),
        ("Mode", info.get("redis_mode", "")),
        ("Role", info.get("role", "")),
        ("Up for", seconds(_number(info, "uptime_in_seconds"))),
        ("Memory used", size(_number(info, "used_memory"))),
        ("Memory at its peak", size(_number(info, "used_memory_peak"))),
        ("Memory limit", "none" if info.get("maxmemory") == "0" else size(_number(info, "maxmemory"))),
        ("When full", info.get("maxmemory_policy", "")),
        ("Append-only file", {"1": "on", "0": "off"}.get(info.get("aof_enabled", ""), "")),
        ("Changes since the last snapshot", count(_number(info, "rdb_changes_since_last_save"))),
        ("Clients", count(_number(info, "connected_clients"))),
        ("Commands a second", count(_number(info, "instantaneous_ops_per_sec"))),
        ("Replicas", count(_number(info, "connected_slaves"))),
        ("Keys evicted", count(_number(info, "evicted_keys"))),
    ]
    return [(what, text) for what, text in said if text and text != "–"]


def _number(info: Info, name: str) -> int | None:
    text = info.get(name, "")
    return int(text) if text.isdecimal() else None
