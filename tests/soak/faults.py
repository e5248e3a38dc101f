"""How faults are brought about: processes, most of them behind proxies of their own, and what they all share."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from signal import SIGTERM

from taskproc import TaskProcessor
from tests.faults.kit import sha
from tests.kit import Process, Proxy, process
from tests.soak.history import Writer, now
from tests.soak.plan import Step
from tests.soak.site import Happening, Site

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
        self._tasks = tasks
        self._shared: dict[str, Happening] = {
            **site.happenings,
            "forgotten scripts": self._forgotten_scripts, "killed clients": self._killed_clients, "pause": self._pause,
        }  # fmt: skip

    async def strike(self, step: Step) -> None:
        """One step, its pause first."""
        await asyncio.sleep(step.pause)
        shared = self._shared.get(step.kind)
        if shared is not None:
            since = await shared(step)
            self._writer.note("fault", at=since, until=now(), pid=0, how=step.kind)
            return
        place = self._places[step.victim]
        async with place.taken:
            since, pid = now(), place.running.pid
            await self._to_process(step, place)
            self._writer.note("fault", at=since, until=now(), pid=pid, how=step.kind)

    async def _to_process(self, step: Step, place: Place) -> None:
        match step.kind:
            case "killed":
                place.running.kill()
                await asyncio.to_thread(place.start)
            case "stopped":
                await asyncio.to_thread(place.stop)
                await asyncio.to_thread(place.start)
            case "frozen":
                place.running.freeze()
                await asyncio.sleep(step.lasts)
                place.running.thaw()
            case "cut off":
                place.way.blackhole()
                await asyncio.sleep(step.lasts)
                place.way.heal()
            case "lost replies":
                await self._lose_replies(step, place.way)
            case _:
                place.way.close_all()

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

    async def _pause(self, step: Step) -> float:
        """Nothing may start from the moment it is paused until it is asked to go on."""
        began = now()
        await self._tasks.pause()
        since = now()
        await asyncio.sleep(step.lasts)
        self._writer.note("fault", at=since, until=now(), pid=0, how="paused")
        await self._tasks.resume()
        return began
