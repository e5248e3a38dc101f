"""Sends what is enqueued at the same moment in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskproc.driver import check_loop
from taskproc.errors import StorageUnavailable

if TYPE_CHECKING:
    from taskproc.storage import Sending, Storage

__all__ = ["Together"]

MOST_TASKS = 200
MOST_BYTES = 1_000_000

_Waiting = tuple["Sending", asyncio.Future[None]]


class Together:
    """Enqueues single tasks. Calls of one turn of the event loop go together; no call waits for another's answer."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._joined: list[_Waiting] | None = None  # those who have come while the first one lets them
        self._under_way: set[asyncio.Task[None]] = set()

    async def enqueue(self, sending: Sending) -> None:
        """Returns when Redis has the task. Cancelled, it may have it all the same."""
        check_loop(self._loop)
        if self._joined is not None:
            await self._join(self._joined, sending)
            return
        self._joined = []
        try:
            await asyncio.sleep(0)  # whoever else is about to enqueue joins
        except BaseException:
            self._send_all(self._take_joined())  # this cancel is not for them
            raise
        joined = self._take_joined()
        if not joined:
            await self._storage.enqueue([sending])
            return
        accepted: asyncio.Future[None] = self._loop.create_future()
        self._send_all([(sending, accepted), *joined])
        await accepted

    async def close(self) -> None:
        """Waits for what is under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _join(self, joined: list[_Waiting], sending: Sending) -> None:
        accepted: asyncio.Future[None] = self._loop.create_future()
        joined.append((sending, accepted))
        await accepted

    def _take_joined(self) -> list[_Waiting]:
        joined, self._joined = self._joined or [], None
        return [each for each in joined if not each[1].done()]  # whoever was cancelled enqueues nothing

    def _send_all(self, waiting: list[_Waiting]) -> None:
        for group in _groups(waiting):
            task = self._loop.create_task(self._send(group))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._storage.enqueue([sending for sending, _ in group])
        except StorageUnavailable as error:
            for (task, _), accepted in group:
                _fail(accepted, error.about(task.id))
        except Exception as error:  # noqa: BLE001 - it may be about one of them alone
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for each in group:
                await self._send([each])
        else:
            for _, accepted in group:
                if not accepted.done():
                    accepted.set_result(None)


def _fail(accepted: asyncio.Future[None], error: Exception) -> None:
    if not accepted.done():
        accepted.set_exception(error)


def _groups(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """As many at a time as one script may take."""
    groups: list[list[_Waiting]] = []
    size = 0
    for each in waiting:
        length = len(each[0][1])
        if not groups or len(groups[-1]) == MOST_TASKS or size + length > MOST_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size += length
    return groups
