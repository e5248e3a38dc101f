"""How faults are brought about: processes, most of them behind proxies of their own, and what they all share."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import count
from signal import SIGTERM

from taskproc import TaskProcessor
from tests.faults.kit import sha
from tests.kit import Process, Proxy, process
from tests.soak import jobs
from tests.soak.books import FORGETTING, PAUSES
from tests.soak.hands import Operator
from tests.soak.history import Writer, now
from tests.soak.plan import WORKERS, Step
from tests.soak.site import Happening, Site

ALL_HELD = "*2\r\n$2\r\nok\r\n*0"
"""The answer to a worker that holds what it thinks it holds."""
MISLED = 10  # times
FOUND_WITHIN = 6.0  # seconds
LOAD = ("", "", "?") * 10
"""Names' ends."""
LOST = ("exchange", "enqueue", "add_to_batch", "cancel_task", "cancel_batch")
"""Scripts whose next reply is lost."""


@dataclass(slots=True)
class Place:
    """Where one process runs, one after the other."""

    module: str
    environment: Mapping[str, str]
    proxy: Proxy | None
    process: Process | None = None
    stack: ExitStack | None = None
    printed: str = ""
    taken: asyncio.Lock = field(default_factory=asyncio.Lock)
    """By the one fault that it has at a time."""

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    @property
    def way(self) -> Proxy:
        """To the server."""
        assert self.proxy is not None
        return self.proxy

    def start(self) -> None:
        """Once more, if it ran before. The package is looked for where the environment says, not in this folder."""
        self.end()
        self.stack = ExitStack()
        self.process = self.stack.enter_context(process(["-P", "-m", self.module], self.environment))

    def stop(self) -> None:
        """In an orderly way, which must succeed, unless it has hardly begun."""
        code = self.running.terminate(30)
        assert code == 0 or (code == -SIGTERM and not self.running.log), (
            f"{self.module} ended with {code}:\n{self.running.log_end}"
        )

    def end(self) -> None:
        """Keeps what it has printed."""
        if self.process is not None and self.stack is not None:
            self.printed += self.process.log
            self.stack.close()
            self.process = None


class Faults:
    """Does what a plan says, and writes it down."""

    def __init__(self, site: Site, places: list[Place], writer: Writer, tasks: TaskProcessor) -> None:
        self._site = site
        self._places = places
        self._writer = writer
        self._shared: dict[str, Happening] = {
            **site.happenings,
            "forgotten scripts": self._forgotten_scripts, "killed clients": self._killed_clients,
        }  # fmt: skip
        self._special = {**Operator(tasks, writer).acts, "rewind, misled": self._misled}
        self._tasks = tasks
        self._numbers = count(1)
        self._remembered = asyncio.Lock()

    async def strike(self, step: Step) -> None:
        """One step, its pause first. What would have to be done again if the server forgot it is done when it does not:
        of a pause it must be known how long there was one.
        """
        await asyncio.sleep(step.pause)
        is_alone = step.kind in (*FORGETTING, *PAUSES, "rewind, misled")
        async with self._remembered if is_alone else nullcontext():
            await self._strike(step)

    async def _strike(self, step: Step) -> None:
        act = self._special.get(step.kind)
        if act is not None:
            await act(step)
            return
        shared = self._shared.get(step.kind)
        if shared is not None:
            self._note(step.kind, await shared(step))
            return
        place = self._places[step.victim % WORKERS if step.kind == "taken over" else step.victim]
        async with place.taken:
            since, pid = now(), place.running.pid
            await self._to_process(step, place)
            if step.kind not in ("frozen", "taken over"):
                self._note(step.kind, since, pid)

    def _note(self, how: str, since: float, pid: int = 0) -> None:
        self._writer.note("fault", at=since, until=now(), pid=pid, how=how)

    async def _to_process(self, step: Step, place: Place) -> None:
        match step.kind:
            case "killed":
                place.running.kill()
                await asyncio.to_thread(place.start)
            case "stopped":
                await asyncio.to_thread(place.stop)
                await asyncio.to_thread(place.start)
            case "taken over":
                await self._load(step.lasts)
                await self._freeze(step, place)
            case "frozen":
                await self._freeze(step, place)
            case "cut off":
                place.way.blackhole()
                await asyncio.sleep(step.lasts)
                place.way.heal()
            case "lost replies":
                await self._lose_replies(step, place.way)
            case _:
                place.way.close_all()

    async def _freeze(self, step: Step, place: Place) -> None:
        since, pid = now(), place.running.pid
        place.running.freeze()
        await asyncio.sleep(step.lasts)
        place.running.thaw()
        self._note("frozen", since, pid)

    async def _misled(self, step: Step) -> None:
        """The server goes back, and a worker that then asks what it holds is told as if it had not: as by a primary
        that is replaced the moment after. Only its exchanges can tell it.
        """
        place, resync = self._places[step.victim % WORKERS], sha("resync")
        async with place.taken:
            await self._load(1.0)
            place.way.answer(resync, ALL_HELD, MISLED)
            self._note("rewind", await self._shared["rewind"](step))
            await asyncio.sleep(FOUND_WITHIN)
            place.way.answer(resync, ALL_HELD, 0)

    async def _load(self, seconds: float) -> None:
        """Gives every worker something to do for so long, and returns when it does it."""
        names = [f"{os.getpid()}.{next(self._numbers)}{suffix}" for suffix in LOAD]
        await asyncio.gather(*(self._enqueue(name, seconds) for name in names))
        await asyncio.sleep(0.3)

    async def _enqueue(self, name: str, seconds: float) -> None:
        method = jobs.step_in_thread if name.endswith("?") else jobs.step
        self._writer.note("sending", name)
        task_id = await self._tasks.on(retries=jobs.RETRIES).enqueue(method, name, seconds)
        self._writer.note("accepted", name, id=task_id)

    async def _lose_replies(self, step: Step, proxy: Proxy) -> None:
        for times in (1, 0):  # none is lost later on
            for script in LOST:
                proxy.drop_reply(sha(script), times)
            await asyncio.sleep(step.lasts * times)

    async def _forgotten_scripts(self, step: Step) -> float:
        since = now()
        with self._site.client() as client:
            client.script_flush()
        return since

    async def _killed_clients(self, step: Step) -> float:
        since = now()
        with self._site.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
        return since
