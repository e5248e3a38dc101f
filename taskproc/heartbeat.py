"""Shows that this process lives, and tells what it is doing when somebody asks: a thread with a connection of its own,
which a busy event loop does not hold up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import redis
from redis.exceptions import NoScriptError, RedisError

from taskproc.driver import encode
from taskproc.failure import log_error
from taskproc.scripts import scripts
from taskproc.watchdog import Watchdog

if TYPE_CHECKING:
    from taskproc.connection import Connection
    from taskproc.health import VitalSigns
    from taskproc.keys import Keys
    from taskproc.stacks import Stacks

__all__ = ["MOST_CANCELS", "Heartbeat"]

logger = logging.getLogger(__name__)

BEATS_PER_TIMEOUT = 6
MOST_CANCELS = 1_000
GLANCE = 0.25  # seconds between two looks at the event loop
LOOK_EVERY = 1.0  # seconds between two looks whether somebody asks what the worker is doing
KEPT = 60  # seconds that the answer is kept


class Answered(Protocol):
    """Told what a beat was answered: what is being canceled, and whether the worker is still known."""

    def __call__(self, worker: str, canceled: list[str], /, *, known: bool) -> None: ...


class Heartbeat:
    """Beats for one worker until stopped; tells `answered` from its thread."""

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        timeout: float,
        answered: Answered,
        signs: VitalSigns,
        *,
        stacks: Stacks,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._timeout = timeout
        self._answered = answered
        self._worker = ""
        self._signs = signs
        self._stacks = stacks
        self._watchdog: Watchdog | None = Watchdog(stacks)
        self._told: tuple[str, bytes] | None = None
        """Which worker was asked last, and the number of that question."""
        self._reachable = False
        """Redis answered when it was asked last: while it does not, only beats are tried, and logged."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="taskproc-heartbeat", daemon=True)

    def start(self, worker: str) -> None:
        """Begins to beat for a registered worker."""
        self._worker = worker
        self._signs.beaten_at = time.monotonic()
        self._reachable = True
        self._thread.start()

    def continue_as(self, worker: str) -> None:
        """Beats for another worker id from now on."""
        self._worker = worker

    def stop(self) -> None:
        """Ends the thread, at its next turn."""
        self._stopped.set()

    def _go_on(self) -> None:
        period = self._timeout / BEATS_PER_TIMEOUT
        client = self._connection.in_thread(period * 2)
        beats_at, looks_at = time.monotonic() + period, time.monotonic()
        while not self._stopped.wait(min(max(beats_at - time.monotonic(), 0), GLANCE)):
            self._watch()
            if time.monotonic() >= beats_at:
                self._try("heartbeat", client, self._beat)
                beats_at = time.monotonic() + period
            if self._reachable and time.monotonic() >= looks_at:
                self._try("answer", client, self._answer)
                looks_at = time.monotonic() + LOOK_EVERY
        client.close()

    def _try(self, what: str, client: redis.Redis, do: Callable[[redis.Redis], None]) -> None:
        try:
            do(client)
        except (RedisError, OSError) as error:
            self._reachable = False
            logger.warning("%s to %s failed: %s", what, self._connection.address, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the next beat may go through
            log_error(logger, error, "%s failed", what)

    def _watch(self) -> None:
        try:
            if self._watchdog is not None:
                self._watchdog.look()
        except Exception as error:  # noqa: BLE001 - the beats are what matters
            self._watchdog = None
            log_error(logger, error, "blocked event loops are told of no more")

    def _beat(self, client: redis.Redis) -> None:
        worker = self._worker
        said = {"worker": worker, "timeout": int(self._timeout * 1000), "limit": MOST_CANCELS}
        keys = (self._keys.workers, self._keys.canceled)
        known, ids = self._run(client, "beat", keys, said | {"lag": int(self._stacks.lag.worst() * 1000)})
        self._signs.beaten_at = time.monotonic()
        self._reachable = True
        if not self._stopped.is_set():
            self._answered(worker, [id_.decode() for id_ in ids], known=bool(known))

    def _answer(self, client: redis.Redis) -> None:
        """Says what the worker is doing, if somebody has asked since the last time."""
        worker = self._worker
        found: Any = client.execute_command("HGET", self._keys.worker(worker), "asked")  # type: ignore[no-untyped-call]
        asked = cast("bytes | None", found)
        if asked is None or self._told == (worker, asked):
            return
        self._told = worker, asked
        said = {"worker": worker, "asked": asked.decode(errors="replace"), "keep": KEPT}
        self._run(client, "note_stacks", (), said, self._stacks.take())

    def _run(self, client: redis.Redis, name: str, keys: Sequence[str], arg: object, *payloads: bytes) -> Any:
        script = scripts()[name]
        words = (len(keys) + 2, self._keys.meta, *keys, self._keys.none, encode(arg), *payloads)
        try:
            return client.execute_command("EVALSHA", script.sha, *words)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return client.execute_command("EVAL", script.source, *words)  # type: ignore[no-untyped-call]
