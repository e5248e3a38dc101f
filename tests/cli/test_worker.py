"""`taskproc worker`: runs the tasks of an app without serving it, and ends as it is told."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taskproc import TaskProcessor
from taskproc.cli.app import app
from taskproc.records import NewTask
from tests.cli.kit import APP, Folder
from tests.conftest import MakeSettings
from tests.faults.kit import environment, workers
from tests.kit import free_port, wait_until
from tests.worker.kit import gone


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """With the application `myapp`."""
    made = Folder(tmp_path)
    made.write(APP)
    return made


async def enqueue(tasks: TaskProcessor, call: str, word: str, queue: str = "default") -> str:
    """A task of the application, which is not imported here."""
    task_id = f"{call}-{word}".replace(".", "-")
    task = NewTask(id=task_id, queue=queue, tenant="default", call=f"myapp:{call}", retries=3, invisibility=60_000)
    await tasks._opened().storage.enqueue([(task, f'[["{word}"]]'.encode())])
    return task_id


@pytest.mark.parametrize("target", ["processor", "Nested.processor", "app", "executing", "off"])
async def test_it_runs_tasks(settings: MakeSettings, folder: Folder, target: str) -> None:
    """Of a processor, of an app with or without an executor: one worker, with the app's lifespan around it."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run(f"myapp:{target}", env=environment(made)) as started:
            await workers(tasks, 1)
            await gone(tasks, await enqueue(tasks, "Mailer.send", "bob"))
            assert len(await tasks.get_workers()) == 1
            assert await asyncio.to_thread(started.terminate) == 0
            assert "Traceback" not in started.log
        assert await tasks.get_workers() == []
    sent = ["sent bob one"]
    assert folder.notes == (sent if "processor" in target else ["up", *sent, "down"])


async def test_queues_and_slots_are_overridden(settings: MakeSettings, folder: Folder) -> None:
    """By the command line, over settings and environment."""
    made = settings(queues=["default"], max_workers=3)
    options = ["--queues", "high, low", "--max-workers", "7"]
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", *options, env=environment(made)) as started:
            await workers(tasks, 1)
            [worker] = await tasks.get_workers()
            assert (worker.queues, worker.max_workers, worker.pid) == (["high", "low"], 7, started.pid)
            await gone(tasks, await enqueue(tasks, "Mailer.send", "bob", "low"))
            assert started.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["processor", "executing"])
async def test_a_running_task_may_end(
    settings: MakeSettings, folder: Folder, target: str, number: signal.Signals
) -> None:
    """SIGTERM, or Ctrl-C: nothing new is fetched, what runs ends within the grace, exit code 0."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run(f"myapp:{target}", env=environment(made)) as started:
            await enqueue(tasks, "work", "a")
            await noted(folder, "begins a")
            started._signal(number)
            await wait_until(lambda: "stopping: running tasks have 25 s to end" in started.log)
            late = await enqueue(tasks, "work", "late")
            await asyncio.sleep(0.1)
            folder.let_go()
            assert await asyncio.to_thread(started.wait) == 0
        assert "ends a" in folder.notes
        assert "begins late" not in folder.notes
        await tasks.cancel_task(late)


async def test_what_does_not_end_in_time_is_handed_back(settings: MakeSettings, folder: Folder) -> None:
    """It is cancelled after the grace, its attempt not counted, and the exit code is 0."""
    made = settings(shutdown_grace=0.2, retries=1)
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", env=environment(made)) as started:
            task_id = await enqueue(tasks, "work", "a")
            await noted(folder, "begins a")
            assert await asyncio.to_thread(started.terminate) == 0
        task = await tasks.get_task(task_id)
        assert task is not None
        assert (task.state, task.attempt) == ("ready", 1)
        await tasks.cancel_task(task_id)
    assert folder.notes == ["up", "begins a", "cancelled a", "down"]


@pytest.mark.leaves_keys("the worker is ended hard")
async def test_a_second_signal_ends_it_at_once(settings: MakeSettings, folder: Folder) -> None:
    """Though a task does not end, and the grace is long."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", env=environment(made)) as started:
            await enqueue(tasks, "stubborn", "a")
            await noted(folder, "begins a")
            started._signal(signal.SIGTERM)
            await wait_until(lambda: "a second signal ends it at once" in started.log)
            await asyncio.sleep(0.4)
            assert await asyncio.to_thread(started.terminate) == 128 + signal.SIGTERM
            assert "a second signal: ending at once" in started.log


async def test_reload_starts_anew_when_a_file_changes(settings: MakeSettings, folder: Folder) -> None:
    """A changed file, also one that cannot be imported in between; SIGTERM ends it all, and no process is left."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", "--reload", env=environment(made)) as started:
            await workers(tasks, 1)
            await gone(tasks, await enqueue(tasks, "Mailer.send", "a"))
            folder.write(APP.replace('VERSION = "one"', "VERSION = ?"))
            await wait_until(lambda: "SyntaxError" in started.log, 15)
            folder.write(APP.replace('VERSION = "one"', 'VERSION = "two"'))
            await gone(tasks, await enqueue(tasks, "Mailer.send", "b"), 15)
            _ = await asyncio.to_thread(started.terminate)
            await workers(tasks, 0)
    assert [note for note in folder.notes if note.startswith("sent")] == ["sent a one", "sent b two"]
    assert folder.notes.count("down") == 2


async def test_control_c_under_reload_is_one_signal(settings: MakeSettings, folder: Folder) -> None:
    """The terminal sends it to the reloader and to the worker, the reloader then once more: what runs may end."""
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", "--reload", env=environment(made)) as started:
            await enqueue(tasks, "work", "a")
            await noted(folder, "begins a")
            os.killpg(started.pid, signal.SIGINT)
            await wait_until(lambda: "stopping: running tasks" in started.log)
            await asyncio.sleep(0.6)
            folder.let_go()
            _ = await asyncio.to_thread(started.wait)
            await workers(tasks, 0)
    assert folder.notes == ["up", "begins a", "ends a", "down"]


JSON_LOGS = """
import json
import logging


class Json(logging.Formatter):
    def format(self, record):
        return json.dumps({"by": record.name, "level": record.levelname, "said": record.getMessage()})


handler = logging.StreamHandler()
handler.setFormatter(Json())
logging.basicConfig(level="INFO", handlers=[handler])
"""


@pytest.mark.parametrize("options", [(), ("--reload",)], ids=["plain", "reload"])
async def test_the_logging_of_the_app_stays(settings: MakeSettings, folder: Folder, options: tuple[str, ...]) -> None:
    """It is set up when the app is imported, in the process that runs the tasks."""
    folder.write(JSON_LOGS + APP)
    made = settings()
    async with TaskProcessor(made) as tasks:
        with folder.run("myapp:app", *options, env=environment(made)) as started:
            await workers(tasks, 1)
            await wait_until(lambda: '"by": "taskproc' in started.log, 10)
            assert [line for line in started.log.splitlines() if not line.startswith("{")] == []
            _ = await asyncio.to_thread(started.terminate)
            await workers(tasks, 0)


@pytest.mark.parametrize("code", [APP, JSON_LOGS + APP], ids=["ours", "the app's"])
async def test_the_log_level_is_of_taskproc_in_any_case(settings: MakeSettings, folder: Folder, code: str) -> None:
    """Also where the app has set up its logging."""
    folder.write(code)
    made = settings()
    async with TaskProcessor(made) as tasks:
        for level, is_told in (("info", True), ("error", False)):
            with folder.run("myapp:app", "--log-level", level, env=environment(made)) as started:
                await workers(tasks, 1)
                assert await asyncio.to_thread(started.terminate) == 0
                assert ("stopping: running tasks" in started.log) == is_told


ERRORS = {
    "myapp": "'myapp' does not say what to run: use module:name, as in myapp:app",
    "nothing:app": "there is no module 'nothing' here: start in the folder that holds it",
    "myapp.sub:app": "there is no module",
    "myapp:nothing": "myapp has no 'nothing': name the FastAPI app or TaskProcessor in it",
    "myapp:bare": "has no task processor: name a TaskProcessor, or an app with add_task_processor()",
    "myapp:number": "7 has no task processor",
    "myapp:app --queues a:b": "--queues 'a:b': Value error, queue name 'a:b' is not allowed",
    "myapp:app --queues ,": "--queues ',': Value error, name at least one queue",
    "myapp:app --max-workers 0": "Invalid value for '--max-workers'",
    "myapp:app --log-level loud": "Invalid value for '--log-level'",
}


@pytest.mark.parametrize("words", ERRORS)
def test_errors_are_clear(folder: Folder, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """What is wrong and what to do, without a traceback, and an exit code that is not 0."""
    monkeypatch.chdir(folder.path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    ran = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["worker", *words.split()])
    sys.modules.pop("myapp", None)
    assert ran.exit_code in (1, 2)
    assert isinstance(ran.exception, SystemExit)
    assert ERRORS[words] in " ".join(ran.output.split())


def test_an_error_on_the_command_line(folder: Folder) -> None:
    """As the command prints it."""
    with folder.run("myapp:nothing") as started:
        assert started.wait() == 1
        assert started.log.strip() == "taskproc: myapp has no 'nothing': name the FastAPI app or TaskProcessor in it"


def test_an_app_that_cannot_be_imported_shows_why(folder: Folder) -> None:
    """The traceback of its own mistake, not a message of ours."""
    folder.write("import nothing_of_that_name\n", "broken.py")
    with folder.run("broken:app") as started:
        assert started.wait() == 1
        assert "No module named 'nothing_of_that_name'" in started.log
        assert "broken.py" in started.log


def test_an_app_whose_start_fails_shows_why(settings: MakeSettings, folder: Folder) -> None:
    """Its own error, and an exit code that is not 0."""
    with folder.run("myapp:failing", env=environment(settings())) as started:
        assert started.wait() == 1
        assert "RuntimeError: no disk left" in started.log


@pytest.mark.parametrize("target", ["processor", "app"])
def test_redis_that_cannot_be_reached(folder: Folder, target: str) -> None:
    """One clear line with the address, but not its password, and exit code 1."""
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with folder.run(f"myapp:{target}", env={"TASKPROC_REDIS": url, "TASKPROC_COMMAND_TIMEOUT": "0.5"}) as started:
        assert started.wait() == 1
        log = started.log
    last = log.splitlines()[-1]
    assert last.startswith("taskproc: Redis at ")
    assert "cannot be reached" in last
    assert "Traceback" not in log
    assert "secret" not in log


def test_help_needs_no_app(folder: Folder) -> None:
    """`--help` says what there is."""
    with folder.run("--help") as started:
        assert started.wait() == 0
        assert "without serving HTTP" in started.log


async def noted(folder: Folder, word: str) -> None:
    """Waits until a task notes it."""
    await wait_until(lambda: word in folder.notes, 10, f"{word} in {folder.path}")
