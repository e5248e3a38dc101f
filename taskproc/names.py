"""Which names queues, tenants and schedules may have."""

from __future__ import annotations

import re

from taskproc.errors import InvalidName

__all__ = ["FAIR", "is_fair", "queue_name", "schedule_name", "tenant_name"]

FAIR = "[fair]"
_NAME = re.compile(r"[A-Za-z0-9_.@|+=/-]{1,128}")
LONGEST_SHOWN = 200  # characters of a wrong name in a message
_OUTCOMES = frozenset({"success", "failed", "canceled", "complete"})


def queue_name(name: str) -> str:
    """`name`, when it is a valid queue name; InvalidName otherwise."""
    _check("queue", name, name.removesuffix(FAIR) if isinstance(name, str) else name)
    if name in _OUTCOMES:
        raise InvalidName(
            f"queue {name!r} is also the name of a batch outcome; choose another queue name, "
            f"or say on(when={name!r}) for a continuation"
        )
    return name


def tenant_name(name: str) -> str:
    """`name`, when it is a valid tenant name; InvalidName otherwise."""
    return _check("tenant", name, name)


def schedule_name(name: str) -> str:
    """`name`, when it is a valid schedule id; InvalidName otherwise."""
    return _check("schedule", name, name)


def is_fair(queue: str) -> bool:
    """Whether the queue serves its tenants in turn."""
    return queue.endswith(FAIR)


def _check(kind: str, name: str, bare: object) -> str:
    if not isinstance(bare, str) or not _NAME.fullmatch(bare):
        shown = repr(name)[:LONGEST_SHOWN]
        suffix = f", and may end in {FAIR}" if kind == "queue" else ""
        raise InvalidName(
            f"{kind} name {shown} is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . @ | + = / -{suffix}"
        )
    return name
