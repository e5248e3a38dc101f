"""The plugin under uvicorn, with several processes."""

import asyncio
from pathlib import Path

import httpx

from tests.kit import block_until, free_port, process, wait_until


class Served:
    """What the app has noted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, kind: str) -> list[list[str]]:
        written = self.path.read_text() if self.path.exists() else ""
        lines = written.rpartition("\n")[0].splitlines()  # whole ones only
        return [line for line in map(str.split, lines) if line[1] == kind]


async def test_two_workers_share_the_tasks_and_close_every_session(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """300 tasks over two processes: each has a session of its own, and SIGTERM lets what runs end."""
    events, port = Served(tmp_path / "log"), free_port()
    environment = {"SERVED_LOG": str(events.path), "TASKPROC_REDIS": redis_url, "TASKPROC_PREFIX": prefix}
    arguments = [
        "-m",
        "uvicorn",
        "tests.fastapi.served_app:app",
        "--workers",
        "2",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]

    with process(arguments, env=environment) as uvicorn:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            await wait_until(lambda: len(events("up")) == 2, 30, "both workers up")
            answers = await asyncio.gather(*(client.post(f"/send/{number}") for number in range(300)))
            assert {answer.status_code for answer in answers} == {200}
            await wait_until(lambda: len(events("sent")) == len(events("close")) == 300, 30, "300 tasks")

            async def settled() -> bool:
                queue = (await client.get("/queue")).json()
                return not (queue["length"] or queue["running"])

            await wait_until(settled)
            await client.post("/slow")
            await wait_until(lambda: events("begun"), what="a task that runs at the end")
        uvicorn.terminate(20)
        block_until(lambda: len(events("down")) == 2, what="both lifespans ended")
        assert events("ended")
        assert "Traceback" not in uvicorn.log
    assert len({(pid, number) for pid, _, number, _ in events("sent")}) == 300
    closed = {(pid, number) for pid, _, number in events("close")}
    assert {(pid, number) for pid, _, number in events("open")} == closed
    assert len({pid for pid, *_ in events("sent")}) == 2
    assert len({user for *_, user in events("sent")}) == 300


async def test_the_reloader_starts_the_app_anew(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """A changed file restarts the app, which ended in order before, and the new one runs tasks."""
    events, port, watched = Served(tmp_path / "log"), free_port(), tmp_path / "watched"
    watched.mkdir()
    (watched / "module.py").write_text("")
    environment = {"SERVED_LOG": str(events.path), "TASKPROC_REDIS": redis_url, "TASKPROC_PREFIX": prefix}
    app = "tests.fastapi.served_app:app"
    arguments = [
        "-m",
        "uvicorn",
        app,
        "--reload",
        "--reload-dir",
        str(watched),
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    with process(arguments, env=environment) as uvicorn:
        await wait_until(lambda: len(events("up")) == 1, 30, "the app is up")
        (watched / "module.py").write_text("changed = True")
        await wait_until(lambda: len(events("up")) == 2, 30, "the app is up again")
        assert len(events("down")) == 1
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            await client.post("/send/1")
        await wait_until(lambda: events("close"), what="a task of the new app")
        uvicorn.terminate(20)
    assert len(events("down")) == 2
