"""Shows that this process lives: a thread with a connection of its own, which a busy event loop does not hold up."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import redis
from redis.exceptions import NoScriptError, RedisError

from taskproc.driver import encode
from taskproc.failure import log_error
from taskproc.scripts import scripts

if TYPE_CHECKING:
    from taskproc.connection import Connection
    from taskproc.health import VitalSigns
    from taskproc.keys import Keys
    from taskproc.lag import Lag

__all__ = ["MOST_CANCELS", "Heartbeat"]

logger = logging.getLogger(__name__)

BEATS_PER_TIMEOUT = 6
MOST_CANCELS = 1_000


class Answered(Protocol):
    """Told what a beat was answered: what is being canceled, and whether the worker is still known."""

    def __call__(self, worker: str, canceled: list[str], /, *, known: bool) -> None: ...


class Heartbeat:
    """Beats for one worker until stopped; tells `answered` from its thread."""

    def __init__(
        self, connection: Connection, keys: Keys, timeout: float, answered: Answered, signs: VitalSigns, *, lag: Lag
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._timeout = timeout
        self._answered = answered
        self._worker = ""
        self._signs = signs
        self._lag = lag
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="taskproc-heartbeat", daemon=True)

    def start(self, worker: str) -> None:
        """Begins to beat for a registered worker."""
        self._worker = worker
        self._signs.beaten_at = time.monotonic()
        self._thread.start()

    def continue_as(self, worker: str) -> None:
        """Beats for another worker id from now on."""
        self._worker = worker

    def stop(self) -> None:
        """Ends the thread, at its next turn."""
        self._stopped.set()

    def _beat_on(self) -> None:
        period = self._timeout / BEATS_PER_TIMEOUT
        client = self._connection.in_thread(period * 2)
        while not self._stopped.wait(period):
            try:
                self._beat(client)
            except (RedisError, OSError) as error:
                logger.warning("heartbeat to %s failed: %s", self._connection.address, type(error).__name__)
            except Exception as error:  # noqa: BLE001 - the next beat may go through
                log_error(logger, error, "heartbeat failed")
        client.close()

    def _beat(self, client: redis.Redis) -> None:
        worker = self._worker
        said = {"worker": worker, "timeout": int(self._timeout * 1000), "limit": MOST_CANCELS}
        known, ids = self._run(client, encode(said | {"lag": int(self._lag.worst() * 1000)}))
        self._signs.beaten_at = time.monotonic()
        if not self._stopped.is_set():
            self._answered(worker, [id_.decode() for id_ in ids], known=bool(known))

    def _run(self, client: redis.Redis, arg: bytes) -> Any:
        script = scripts()["beat"]
        keys = (self._keys.meta, self._keys.workers, self._keys.canceled, self._keys.none)
        try:
            return client.execute_command("EVALSHA", script.sha, len(keys), *keys, arg)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return client.execute_command("EVAL", script.source, len(keys), *keys, arg)  # type: ignore[no-untyped-call]
