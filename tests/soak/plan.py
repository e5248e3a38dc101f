"""What happens when: decided by a seed, before anything begins."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WORKERS = 3
PRODUCERS = 2

Mode = Literal["durable", "rewinds", "failover", "cluster"]
"""A server that keeps what it has acknowledged; one that also goes back to what it had stored a moment ago; one with a
replica, which Sentinels make the primary; and one of the nodes of a cluster, which keep everything.
"""

TO_PROCESSES = ("killed", "stopped", "frozen", "taken over")
TO_CONNECTIONS = ("cut off", "lost replies", "closed")
TO_CLIENTS = ("forgotten scripts", "killed clients")
BY_HAND = ("pause", *("pause of a queue", "pause of a tenant") * 2, "retry of a queue", "retry of a queue")
TO_SERVER: dict[Mode, Sequence[str]] = {
    "durable": ("restart", "standstill", *TO_CLIENTS),
    "rewinds": (*("rewind", "rewind, misled") * 2, "restart", "standstill", *TO_CLIENTS),
    "failover": (*("failover", "primary killed", "primary frozen") * 2, *TO_CLIENTS),
    "cluster": (*("slot moved",) * 3, "restart", "standstill", *TO_CLIENTS),
}
LASTING = {
    "frozen": (0.3, 5.0), "taken over": (3.0, 5.0), "cut off": (0.3, 5.0), "lost replies": (0.3, 1.0),
    "restart": (0.0, 4.0), "standstill": (0.3, 4.0), "rewind": (0.3, 1.5), "rewind, misled": (1.0, 1.4),
    "slot moved": (0.1, 2.5), "failover": (0.0, 1.0), "primary killed": (0.0, 1.0), "primary frozen": (0.5, 3.0),
    "pause": (1.5, 3.0), "pause of a queue": (1.5, 4.0), "pause of a tenant": (1.5, 4.0),
}  # fmt: skip
"""Seconds, from and to: how long it goes on, and of a failover how much longer the old primary is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A fault: `pause` seconds after the one before it, `lasts` seconds long."""

    pause: float
    kind: str
    victim: int
    """Which process: workers first, then producers."""
    lasts: float
    choice: int = 0
    """Of what else there is to choose."""


def plan(seed: int, seconds: float, mode: Mode) -> list[list[Step]]:
    """Rows of what happens at the same time, the same for the same seed: two to processes, one to the server, and
    one of what an operator does.

    Behind Sentinels, and in a cluster, there is no proxy between a process and its server, so nothing happens to its
    connections alone.
    """
    chance = random.Random(seed)
    kinds = TO_PROCESSES + (TO_CONNECTIONS if mode in ("durable", "rewinds") else ())
    rows = [_row(chance, seconds, kinds, (0.5, 3.0)) for _ in range(2)]
    return [*rows, _row(chance, seconds, TO_SERVER[mode], (2.0, 6.0)), _row(chance, seconds, BY_HAND, (2.0, 6.0))]


def _row(chance: random.Random, seconds: float, kinds: Sequence[str], pauses: tuple[float, float]) -> list[Step]:
    steps: list[Step] = []
    while seconds > 0:
        kind = chance.choice(kinds)
        step = Step(
            pause=chance.uniform(*pauses),
            kind=kind,
            victim=chance.choices(range(WORKERS + PRODUCERS), [3] * WORKERS + [1] * PRODUCERS)[0],
            lasts=chance.uniform(*LASTING.get(kind, (0.0, 0.0))),
            choice=chance.randrange(1_000),
        )
        steps.append(step)
        seconds -= step.pause + step.lasts
    return steps
