"""Where commands look: the environment, an address, or an app; and what is said when there is nothing."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from taskproc import ref
from tests.cli.commands import Commands
from tests.conftest import MakeSettings
from tests.kit import Server, free_port
from tests.worker.kit import Jobs, processor_of

APP = """
from taskproc import TaskProcessor, TaskProcessorSettings, background, factories
from taskproc_fastapi import FastAPI


class Mailer:
    async def send(self, to, subject):
        ...


tasks = TaskProcessor(TaskProcessorSettings(redis={redis!r}, prefix={prefix!r}), scopes=factories({{Mailer: Mailer}}))
app = FastAPI()
app.add_task_processor(tasks)
bare = 7
"""
NOWHERE = {"TASKPROC_REDIS": "redis://127.0.0.1:1/0", "TASKPROC_COMMAND_TIMEOUT": "0.3"}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: MakeSettings) -> Commands:
    """Commands in the folder of an app, with an environment that leads nowhere."""
    made = settings()
    (tmp_path / "mine.py").write_text(APP.format(redis=made.redis, prefix=made.prefix))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return Commands(NOWHERE)


@pytest.mark.parametrize("target", ["mine:tasks", "mine:app"])
async def test_an_app(settings: MakeSettings, mine: Commands, target: str) -> None:
    """Its settings are taken, and what it knows of its tasks; it is not started."""
    async with processor_of(settings(), Jobs()) as tasks:
        task_id = await tasks.enqueue(ref(Jobs).note, "a")
        assert (await mine.json("tasks", "show", task_id, "--app", target))["task_id"] == task_id
        await tasks.cancel_task(task_id)
    sys.modules.pop("mine", None)


async def test_arguments_by_name(settings: MakeSettings, mine: Commands) -> None:
    """With an app, since it knows how its methods call them."""
    sys.path.insert(0, str(Path.cwd()))
    module: Any = importlib.import_module("mine")

    async with module.tasks as tasks:
        task_id = await tasks.enqueue(ref(module.Mailer).send, "bob", "hello")
        found = await mine.json("tasks", "show", task_id, "--app", "mine:tasks")
        assert found["arguments"] == {"to": "bob", "subject": "hello"}
        await tasks.cancel_task(task_id)
    sys.modules.pop("mine", None)


async def test_an_address_and_a_prefix(settings: MakeSettings) -> None:
    """Win over the environment."""
    made = settings()
    async with processor_of(made, Jobs()) as tasks:
        task_id = await tasks.enqueue(ref(Jobs).note, "a")
        where = ["--redis", made.redis, "--prefix", made.prefix]
        assert await Commands(NOWHERE).json("tasks", "show", task_id, *where)
        await tasks.cancel_task(task_id)


ERRORS = {
    "--app mine": "'mine' does not say what to run: use module:name, as in myapp:app",
    "--app nothing:app": "there is no module 'nothing' here",
    "--app mine:nothing": "mine has no 'nothing'",
    "--app mine:bare": "7 has no task processor",
    "--app mine:app --redis redis://localhost --prefix x": "leave out --redis and --prefix, or --app",
    "--redis localhost": "`redis` is not a server address",
    "--prefix a*b": "prefix: Value error, must not be empty nor contain",
}


@pytest.mark.parametrize("words", ERRORS)
async def test_targets_that_are_none(mine: Commands, words: str) -> None:
    """Are misuse: one message, exit code 2."""
    assert ERRORS[words] in await mine.refused("queues", *words.split(), code=2)
    sys.modules.pop("mine", None)


COMMANDS = [
    "status",
    "watch",
    "queues",
    "queues show a",
    "batches",
    "batches show a --follow",
    "tasks show a",
    "dead",
    "dead discard a -y",
    "schedules",
    "workers",
    "tenants",
    "pause",
    "resume",
    "pauses",
    "audit",
]


@pytest.mark.parametrize("words", COMMANDS)
async def test_a_server_that_cannot_be_reached(words: str) -> None:
    """Is said in one message without password or traceback, exit code 2."""
    env = {**NOWHERE, "TASKPROC_REDIS": f"redis://ann:opensesame@127.0.0.1:{free_port()}/0"}
    said = await Commands(env).refused(*words.split(), code=2)
    assert said.startswith("Redis at redis://127.0.0.1:")
    assert "cannot be reached" in said
    assert "opensesame" not in said


async def test_a_wrong_password_is_not_repeated() -> None:
    """Neither is that of a server which lets us in."""
    with Server(requirepass="opensesame") as server:
        commands = Commands({"TASKPROC_REDIS": server.url, "TASKPROC_COMMAND_TIMEOUT": "1"})
        for words in (["status"], ["status", "--json"]):
            assert "opensesame" not in await commands.said(*words)
        wrong = await commands.refused("status", "--redis", server.url.replace("opensesame", "sesame"), code=2)
        assert "Check user and password" in wrong
        assert "sesame" not in wrong


async def test_a_secret_setting_that_is_wrong_is_not_repeated() -> None:
    """The name of the setting is said, and what is wrong with it."""
    said = await Commands({"TASKPROC_SIGNING_KEYS": "tooshort"}).refused("status", code=2)
    assert said.startswith("signing_keys.0: ")
    assert "tooshort" not in said


async def test_misuse_ends_with_2(cli: Commands) -> None:
    """Options that there are not, values that cannot be, names that are none."""
    for words in ("queues --nonsense", "queues show", "queues show a --take 0", "nonsense", "queues nonsense"):
        assert (await cli.run(*words.split())).exit_code == 2
    assert "is not allowed" in await cli.refused("queues", "show", "a:b", code=2)
    assert "is not the id" in await cli.refused("tasks", "show", "ä", code=2)
