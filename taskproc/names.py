"""Which names queues, tenants, schedules and calls may have."""

from __future__ import annotations

import re

from taskproc.errors import InvalidName

__all__ = [
    "FAIR",
    "LOCALS",
    "id_text",
    "is_fair",
    "is_private",
    "parse",
    "queue_name",
    "schedule_name",
    "scope_text",
    "tenant_name",
    "tenant_or_any",
    "topic_text",
]

FAIR = "[fair]"
_NAME = re.compile(r"[A-Za-z0-9_.@|+=/-]{1,128}")
LOCALS = "<locals>"
LONGEST_SCOPE = 1_000  # characters
LONGEST_CALL = LONGEST_TOPIC = 500  # characters
LONGEST_SHOWN = 200  # characters of a wrong name in a message
LONGEST_ID = 300  # characters; the ids that are given out are shorter
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


def id_text(id_: str) -> str:
    """`id_`, when it can be the id of a task or batch; InvalidName otherwise."""
    if not isinstance(id_, str) or len(id_) > LONGEST_ID or not (id_.isascii() and id_.isprintable()):
        raise InvalidName(
            f"{repr(id_)[:LONGEST_SHOWN]} is not the id of a task or batch: pass the str that enqueuing it gave"
        )
    return id_


def tenant_or_any(tenant: str | None) -> str | None:
    """`tenant`, when it is None or a valid tenant name; InvalidName otherwise."""
    return None if tenant is None else tenant_name(tenant)


def scope_text(scope: str) -> str:
    """`scope`, when it can be kept with a batch or schedule; InvalidName otherwise."""
    if not isinstance(scope, str) or len(scope) > LONGEST_SCOPE:
        raise InvalidName(
            f"scope={repr(scope)[:LONGEST_SHOWN]} must be a str of at most {LONGEST_SCOPE:,} characters: it says what "
            'the batch or schedule is for, as in "Import 42"'
        )
    return scope


def topic_text(topic: str) -> str:
    """`topic`, when it can be that of a task; InvalidName otherwise."""
    if not isinstance(topic, str) or not 0 < len(topic) <= LONGEST_TOPIC or not topic.isprintable():
        raise InvalidName(
            f"topic {repr(topic)[:LONGEST_SHOWN]} is not allowed: it is a str of 1 to {LONGEST_TOPIC} printable "
            "characters that says how to read the data; what is longer belongs into these"
        )
    return topic


def is_fair(queue: str) -> bool:
    """Whether the queue serves its tenants in turn."""
    return queue.endswith(FAIR)


def parse(call: str) -> tuple[str, str] | None:
    """Module and path of a call's name, if it is a well-formed one of something public; None for any other text."""
    module, _, path = call.partition(":")
    parts = module.split(".")
    if len(call) > LONGEST_CALL or not all(part.isidentifier() for part in parts):
        return None
    if module != "__main__" and any(part.startswith("__") for part in parts):
        return None
    well_formed = all(part.isidentifier() or part == LOCALS for part in path.split("."))
    return (module, path) if well_formed and not is_private(path) else None


def is_private(path: str) -> bool:
    """Whether a part of the path begins with `_`; of what is local to a function, a part inside of it."""
    inside = path.rpartition(f"{LOCALS}.")[2]
    return any(part.startswith("_") or part == LOCALS for part in inside.split("."))


def _check(kind: str, name: str, bare: object) -> str:
    if not isinstance(bare, str) or not _NAME.fullmatch(bare):
        shown = repr(name)[:LONGEST_SHOWN]
        suffix = f", and may end in {FAIR}" if kind == "queue" else ""
        raise InvalidName(
            f"{kind} name {shown} is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . @ | + = / -{suffix}"
        )
    return name
