"""Measures Celery on Redis."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _measure
import _tasks
from celery import Celery
from celery.platforms import SecurityWarning
from kombu import pools


class OnCelery(_measure.ThreadedPeer):
    """Threads, the pool for tasks that wait: 100 processes of the default pool would measure the machine.

    No results (more prefetching gains nothing here); no gossip, mingle and heartbeats. It has no call for
    many that does more than send them one by one.
    """

    package = "celery"

    def _create(self, url: str) -> Celery:
        self.app = Celery("bench", broker=url)
        self.app.conf.update(
            task_ignore_result=True,
            broker_pool_limit=100,
            broker_connection_retry_on_startup=True,
        )
        self.tasks = {name: self.app.task(task, name=name) for name, task in _tasks.SYNC_TASKS.items()}
        return self.app

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[None]:
        self._create(url)
        yield
        pools.reset()
        self.app.close()

    def enqueue(self, task: str, number: int) -> object:
        return self.tasks[task].apply_async((number, "x"))

    def serve(self, url: str) -> None:
        warnings.simplefilter("ignore", SecurityWarning)  # of root, whose machine it is in a container
        # Like `celery worker --pool threads --concurrency 100 --without-gossip --without-mingle --without-heartbeat`.
        self._create(url).Worker(
            pool="threads",
            concurrency=100,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        ).start()


if __name__ == "__main__":
    _measure.main(OnCelery())
