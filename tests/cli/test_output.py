"""How it looks: names that would do harm, short lines, pipes, colours, words for times."""

import io
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from rich.console import Console

from taskproc import ScheduleData, ref
from taskproc.cli.output import Column, Output
from taskproc.cli.words import ago, length, noun, rate, read_span, since
from taskproc.records import NewTask
from taskproc.redaction import HIDDEN, redacted
from tests.cli.commands import TASKPROC, Commands, terminal
from tests.cli.test_looks import dies
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, processor_of, working

EVIL = "[red]a[/red] [link=x]b \x1b[31m\x1b]0;title\x07 \r\n\u202e :bomb: {x}"


OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\u202e]")
"""What a terminal would obey, but for the ends of lines."""


def harmless(said: str) -> None:
    """Nothing of EVIL has done anything."""
    assert OBEYED.search(said) is None
    assert ":bomb:" in said
    assert "[red]a[/red]" in said


async def test_hostile_names(settings: MakeSettings, cli: Commands) -> None:
    """Of scopes, errors and arguments: printed as they are, without what a terminal would obey."""
    async with working(settings(), Jobs()) as tasks:
        async with tasks.batch("unserved", scope=EVIL) as batch:
            batch.enqueue(ref(Jobs).note, "a")
        await tasks.upsert_schedule(ScheduleData(id="x", cron="0 0 1 1 *", scope=EVIL), ref(Jobs).note, "a")
        dead = await dies(tasks, EVIL)
        await tasks.pause(queue="mail", reason=EVIL, by=EVIL)
        await tasks.record_act(EVIL, EVIL, by=EVIL, detail=EVIL)
        for words in (
            "batches", f"batches show {batch.id}", "schedules", "schedules show x", "dead", "dead groups",
            f"tasks show {dead}", f"tasks explain {dead}", "pauses", "status", "audit",
        ):  # fmt: skip
            harmless(await cli.said(*words.split()))
        for words in ("batches", "dead", "pauses", "audit"):
            assert OBEYED.search(await cli.said(words, "--json")) is None
        await tasks.resume(queue="mail")
        await tasks.cancel_schedule("x")
        await tasks.cancel_batch(batch.id)
        await tasks.discard_dead_tasks("default")


@pytest.mark.leaves_keys("a task whose record nobody would write")
async def test_hostile_calls(settings: MakeSettings, cli: Commands) -> None:
    """A producer of another version may write anything."""
    async with processor_of(settings()) as tasks:
        task = NewTask(id="x", queue="default", tenant="default", call=f"m:{EVIL}", retries=3, invisibility=60_000)
        await tasks._opened().storage.enqueue([(task, b"[[]]")])
        for words in ("queues show default", "tasks show x"):
            harmless(await cli.said(*words.split()))


async def test_hostile_words_on_the_command_line(cli: Commands) -> None:
    """In messages and questions."""
    for words in (
        ["tasks", "show", "[red]a"],
        ["batches", "cancel", "[red]a", "-y"],
        ["schedules", "show", "a\x1b[31m"],
        ["queues", "show", "a\udcff"],
    ):
        said = (await cli.run(*words)).stderr
        assert "\x1b" not in said
        assert "a" in said


async def test_short_lines(settings: MakeSettings, cli: Commands) -> None:
    """Ids stay whole, what matters less is left out, and no line is longer than the terminal."""
    async with processor_of(settings(), Jobs()) as tasks:
        async with tasks.batch(
            "a-queue-with-a-rather-long-name", scope="A scope that is longer than one would like"
        ) as batch:
            batch.enqueue(ref(Jobs).note, "a")
        for words in ("queues", "queues show a-queue-with-a-rather-long-name", "batches", "status"):
            for columns in (80, 100):
                said = await cli.said(*words.split(), columns=columns)
                assert max(map(len, said.splitlines())) <= columns, said
        assert batch.id in await cli.said("batches", columns=80)
        assert "took" not in await cli.said("batches", columns=70)
        assert "took" in await cli.said("batches", columns=140)
        await tasks.cancel_batch(batch.id)


async def test_pipes_take_whole_lines(settings: MakeSettings, cli: Commands) -> None:
    """Where nobody has said how long lines may be; none ends with blanks, and there are no colours."""
    async with processor_of(settings(), Jobs()) as tasks:
        async with tasks.batch("unserved", scope="long " * 30) as batch:
            batch.enqueue(ref(Jobs).note, "a")
        said = piped("batches", env=cli)
        assert ("long " * 30).strip() in said
        assert [line for line in said.splitlines() if line != line.rstrip()] == []
        assert "\x1b" not in said
        await tasks.cancel_batch(batch.id)


def piped(*words: str, env: Commands) -> str:
    """What it prints into a pipe."""
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    ran = subprocess.run([TASKPROC, *words], env={**kept, **env.env}, capture_output=True, text=True, check=True)
    return ran.stdout


def buffered(cli: Commands) -> dict[str, str]:
    """The environment of a command, which holds back what it prints into a pipe, as Python does by itself."""
    return {**os.environ, **cli.env, "PYTHONUNBUFFERED": ""}


def test_a_poor_encoding(cli: Commands) -> None:
    """What it lacks is replaced."""
    said = piped("queues", env=Commands({**cli.env, "PYTHONIOENCODING": "ascii"}))
    assert said.splitlines()[1].split() == ["default", "0", "0", "0", "0", "?"]


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_pipe_that_is_closed(cli: Commands, options: str) -> None:
    """As `head` does: the command ends soon and quietly, with the code of programs that are ended by it."""
    command = f"{TASKPROC} watch --interval 0.2 {options} | head -n 1; echo ${{PIPESTATUS[0]}}"
    began = time.monotonic()
    ran = subprocess.run(["/bin/bash", "-c", command], env=buffered(cli), capture_output=True, text=True, check=True)
    [line, code] = ran.stdout.splitlines()
    assert json.loads(line)["queues"] if options else line.count(":") == 2
    assert (code, ran.stderr) == ("141", "")
    assert time.monotonic() - began < 8


def test_what_is_looked_at_comes_at_once(cli: Commands) -> None:
    """Into a pipe too, whose reader waits for each line."""
    command = [str(TASKPROC), "watch", "--interval", "600", "--json"]
    with subprocess.Popen(command, env=buffered(cli), stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            assert select.select([watching.stdout], [], [], 20)[0]
            assert json.loads(watching.stdout.readline())["queues"]
        finally:
            watching.terminate()


def test_it_is_a_module_too() -> None:
    """`python -m taskproc`."""
    ran = subprocess.run([sys.executable, "-m", "taskproc", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"taskproc {version('taskproc')}\n"


@pytest.mark.parametrize("env, coloured", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours(cli: Commands, env: dict[str, str], *, coloured: bool) -> None:
    """At a terminal that can show them, unless NO_COLOR says otherwise."""
    with terminal("status", env={**cli.env, **env}) as at:
        assert at.wait() == 0
        assert "No worker runs." in at.shown
        assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", at.raw) is not None) == coloured


def test_version_and_help(cli: Commands) -> None:
    """Without a server."""
    nowhere = Commands({"TASKPROC_REDIS": "redis://127.0.0.1:1"})
    assert piped("--version", env=nowhere) == f"taskproc {version('taskproc')}\n"
    said = piped("dead", "--help", env=nowhere)
    assert all(word in said for word in ("list", "groups", "retry", "discard"))


def test_completion() -> None:
    """Of commands and options, of nouns too, whose list needs no word."""
    nowhere = Commands({"TASKPROC_REDIS": "redis://127.0.0.1:1", "_TASKPROC_COMPLETE": "complete_bash"})

    def completed(words: str) -> Sequence[str]:
        env = {**nowhere.env, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        return piped(env=Commands(env)).split()

    assert {"queues", "batches", "watch"} <= set(completed("taskproc "))
    assert completed("taskproc queues ") == ["list", "show"]
    assert completed("taskproc dead discard --y") == ["--yes"]


# Words


def test_durations() -> None:
    """In two units where the larger is small."""
    said = {0.0123: "12 ms", 1.25: "1.2 s", 45: "45 s", 125: "2 min 5 s", 3000: "50 min", 7500: "2 h 5 min"}
    assert {seconds: length(seconds) for seconds in said} == said
    assert (length(timedelta(days=3, hours=2)), length(timedelta(days=1_000_000)), length(None)) == (
        "3 d 2 h",
        "1,000,000 d",
        "–",
    )
    assert length(-1) == "0 ms"


def test_instants() -> None:
    """Roughly, before and after now."""
    now = datetime.now(UTC)
    assert ago(now - timedelta(seconds=3)) == "3 s ago"
    assert ago(now + timedelta(hours=5, minutes=1)) == "in 5 h"
    assert (ago(now), ago(None), since(now - timedelta(minutes=90))) == ("now", "–", "1 h")
    assert since(now + timedelta(minutes=1)) == "0 s"


def test_numbers() -> None:
    """With what they count."""
    assert [noun(number, "batch") for number in (0, 1, 1234)] == ["0 batches", "1 batch", "1,234 batches"]
    assert [rate(per_second) for per_second in (0.001, 0.5, 1, 1234)] == ["< 1 / min", "30 / min", "1 / s", "1,234 / s"]


def test_spans() -> None:
    """As they are written."""
    assert read_span("1d12h") == timedelta(days=1, hours=12)
    assert read_span("90 s") == timedelta(seconds=90)
    for wrong in ("", "5", "m", "5m3", "-5m", "0h"):
        with pytest.raises(ValueError, match="is no time"):
            read_span(wrong)
    with pytest.raises(ValueError, match="write 30m for minutes"):
        read_span("30")


def test_columns_give_way() -> None:
    """The last extra one first; flexible ones are cut; others never are."""
    out = Output(as_json=False)
    out.console = Console(width=40, file=io.StringIO())
    columns: list[Column[str]] = [
        Column(head="id", value=lambda _: "x" * 20),
        Column(head="one", value=lambda _: "1" * 9, extra=True),
        Column(head="two", value=lambda _: "2" * 9, extra=True),
        Column(head="text", value=lambda text: text, flexible=True),
    ]
    heads = [str(column.header) for column in out.table(["y" * 50], columns).columns]
    assert heads == ["id", "text"]
    out.console.width = 58
    assert [str(column.header) for column in out.table(["y"], columns).columns] == ["id", "one", "two", "text"]


def test_secrets_at_any_depth() -> None:
    """In dictionaries and lists, and in URLs; too deep a value is hidden whole."""
    given = {"login": {"user": "a", "apiToken": "t"}, "urls": ["redis://u:p@host/0"], "n": 1}
    assert redacted(given) == {
        "login": {"user": "a", "apiToken": HIDDEN},
        "urls": ["redis://u:•••@host/0"],
        "n": 1,
    }
    deep: object = "x"
    for _ in range(30):
        deep = [deep]
    assert HIDDEN in json.dumps(redacted({"a": deep}), ensure_ascii=False)
