"""Commands that go on: `watch` and `--follow`, at terminals, in pipes, and how they are ended."""

import asyncio
import json
import signal

import pytest

from taskproc import TaskProcessor, ref
from tests.cli.commands import TASKPROC, Commands, terminal
from tests.conftest import MakeSettings
from tests.kit import Process, Server, block_until
from tests.worker.kit import Jobs, ended, working


@pytest.mark.parametrize("end", ["q", "\x03", signal.SIGTERM], ids=["q", "ctrl-c", "sigterm"])
def test_watch(cli: Commands, end: str | signal.Signals) -> None:
    """Shows the overview again and again until it is ended, well; the terminal is left as it was."""
    with terminal("watch", "--interval", "0.2", env=cli.env) as at:
        at.until("q ends")
        before = at.shown.count("q ends")
        block_until(lambda: at.shown.count("q ends") > before + 1, 10)
        if isinstance(end, str):
            at.press(end)
        else:
            at.send(end)
        assert at.wait() == 0
        assert at.is_as_before
        assert "Traceback" not in at.shown


def test_watch_ignores_other_keys(cli: Commands) -> None:
    """Arrows too, which begin as Escape does."""
    with terminal("watch", "--interval", "0.2", env=cli.env) as at:
        at.until("q ends")
        at.press("x\x1b[A")
        before = at.shown.count("q ends")
        block_until(lambda: at.shown.count("q ends") > before + 2, 10)
        at.press("q")
        assert at.wait() == 0


def test_watch_on_a_dumb_terminal(cli: Commands) -> None:
    """One overview after the other, nothing that moves the cursor."""
    with terminal("watch", "--interval", "0.2", env={**cli.env, "TERM": "dumb"}) as at:
        block_until(lambda: at.shown.count("No worker runs.") > 1, 20)
        at.send(signal.SIGINT)
        assert at.wait() == 0
        assert "\x1b" not in at.raw


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_in_a_pipe(cli: Commands, number: signal.Signals) -> None:
    """Also where the shell has told background programs to ignore Ctrl-C; as JSON one object a line."""
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", str(TASKPROC), "watch", "--interval", "0.2", "--json"]
    started = Process(ignoring, env={**cli.env, "PYTHONUNBUFFERED": "1"})
    try:
        block_until(lambda: started.log.count("\n") > 1, 20)
        started._signal(number)
        assert started.wait() == 0
        looks = [json.loads(line) for line in started.log.splitlines()]
        assert all(look["queues"][0]["name"] == "default" for look in looks)
    finally:
        started.close()


@pytest.mark.parametrize(
    "options, sign", [([], "No worker runs."), (["--json"], '"workers": []')], ids=["table", "json"]
)
def test_watch_goes_on_while_the_server_is_away(options: list[str], sign: str) -> None:
    """It says so, and is back when that is."""
    with Server() as server:
        env = {"TASKPROC_REDIS": server.url, "TASKPROC_COMMAND_TIMEOUT": "0.3"}
        with terminal("watch", "--interval", "0.2", *options, env=env) as at:
            at.until(sign)
            server.kill()
            at.until("did not carry out the request")
            before = at.shown.count(sign)
            server.start()
            block_until(lambda: at.shown.count(sign) > before, 20)
            at.press("\x03")
            assert at.wait() == 0


async def big_batch(tasks: TaskProcessor, *words: str) -> str:
    """A batch of tasks that note a word, or fail with it."""
    async with tasks.batch(scope="Import") as batch:
        for word in words:
            if word == "bad":
                batch.on(retries=1).enqueue(ref(Jobs).fail, word)
            else:
                batch.enqueue(ref(Jobs).wait, word)
    return batch.id


@pytest.mark.parametrize("word, code", [("good", 0), ("bad", 1)])
async def test_follow(settings: MakeSettings, cli: Commands, word: str, code: int) -> None:
    """A bar until the batch has ended; the exit code says how."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        batch = await big_batch(tasks, "a", word)
        with terminal("batches", "show", batch, "--follow", env=cli.env) as at:
            await asyncio.to_thread(at.until, "running")
            jobs.go_on.set()
            assert await asyncio.to_thread(at.wait) == code
            assert at.is_as_before
            assert ("1 of 2 done, 1 failed" if code else "2 of 2 tasks") in at.shown
            assert "2 of 2" not in at.shown or not code
        await tasks.discard_dead_tasks("default")


async def test_follow_is_ended_by_hand(settings: MakeSettings, cli: Commands) -> None:
    """The batch goes on, and 130 is the exit code."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        batch = await big_batch(tasks, "a")
        with terminal("batches", "show", batch, "-f", env=cli.env) as at:
            await asyncio.to_thread(at.until, "running")
            at.press("\x03")
            assert await asyncio.to_thread(at.wait) == 130
            assert at.is_as_before
            assert f"batch {batch} goes on" in at.shown
        jobs.go_on.set()
        assert (await ended(tasks, batch)).state == "done"


async def test_follow_in_a_pipe(settings: MakeSettings, cli: Commands) -> None:
    """A line for each change; as JSON the batch."""
    jobs = Jobs()
    jobs.go_on.set()
    async with working(settings(), jobs) as tasks:
        batch = await big_batch(tasks, "a", "b")
        await ended(tasks, batch)
        for options, last in (([], "done  2 of 2 tasks"), (["--json"], '"state": "done"')):
            started = Process([str(TASKPROC), "batches", "show", batch, "--follow", *options], env=cli.env)
            try:
                assert await asyncio.to_thread(started.wait, 20) == 0
                assert last in started.log
            finally:
                started.close()


async def test_retry_and_follow(settings: MakeSettings, cli: Commands) -> None:
    """Until what ran again has ended too."""
    async with working(settings(), Jobs()) as tasks:
        batch = await big_batch(tasks, "bad")
        await ended(tasks, batch)
        with terminal("batches", "retry", batch, "--follow", env=cli.env) as at:
            assert await asyncio.to_thread(at.wait) == 1
            assert "failed  0 of 1 done, 1 failed" in at.shown
        await tasks.discard_dead_tasks("default")
