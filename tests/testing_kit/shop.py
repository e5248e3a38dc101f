"""Something to be tested with the kit."""

import asyncio
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from taskproc import CURRENT, TaskContext, TaskProcessor, TaskProcessorSettings, background, factories
from taskproc.testing import blocking, lose_worker


class Order(BaseModel):
    number: int
    paid: bool = False


class Shop:
    """Notes what is asked of it."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def ship(self, order: Order, to: str = "home") -> None:
        self.log.append(("ship", order.number, to))

    async def mail(self, to: str, text: str = "Hello", ctx: TaskContext = CURRENT) -> None:
        self.log.append(("mail", to, text, ctx.scheduled_for))

    async def remind(self, to: str, ctx: TaskContext | None = None) -> None:
        self.log.append(("remind", to))

    async def stumble(self) -> None:
        self.log.append(("stumble",))
        if len(self.log) == 1:
            raise ValueError("a stone")

    async def nap(self, number: int) -> None:
        await asyncio.sleep(0.02)
        self.log.append(("nap", number))

    async def break_down(self) -> None:
        raise ValueError("no more paper")

    async def fall_over(self, how: str, ctx: TaskContext = CURRENT) -> None:
        self.log.append(("fall over", how))
        if sum(entry[0] == "fall over" for entry in self.log) == 1:
            await lose_worker(ctx.processor)
            self.log.append(("was not lost",))

    def fall_over_in_thread(self, ctx: TaskContext = CURRENT) -> None:
        self.log.append(("fall over",))
        if sum(entry[0] == "fall over" for entry in self.log) == 1:
            blocking.lose_worker(ctx.processor)
            self.log.append(("was not lost",))

    async def wait(self, event: str) -> None:
        self.log.append(("wait", event))
        await asyncio.Event().wait()

    def count(self, number: int) -> None:
        self.log.append(("count", number))


@background
async def at(when: datetime) -> None:
    """A function that is a task."""


class Opened:
    """A processor with a shop, and what the shop has noted; connected inside `async with`."""

    def __init__(self, settings: TaskProcessorSettings) -> None:
        self.log: list[Any] = []
        self.tasks = TaskProcessor(settings, scopes=factories({Shop: lambda: Shop(self.log)}))

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.tasks.__aexit__(kind, error, trace)


HOUR = timedelta(hours=1)
