"""Commands that act: what they do, what they say, that they ask, and that it is noted who did what."""

import getpass
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from taskproc import ScheduleData, TaskProcessor, ref
from tests.cli.commands import Commands, terminal
from tests.cli.test_looks import dies
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, ended, processor_of, working


async def test_cancel_a_task(settings: MakeSettings, cli: Commands) -> None:
    """It never starts; a second time there is nothing to cancel."""
    async with processor_of(settings(), Jobs()) as tasks:
        first, second = [await tasks.enqueue(ref(Jobs).note, "a") for _ in range(2)]
        assert f"Canceled task {first}." in await cli.said("tasks", "cancel", first, "--yes")
        assert await cli.json("tasks", "cancel", second, "-y") == {"canceled": 1}
        assert await tasks.get_task(first) is None
        assert f"there is no task {first} to cancel" in await cli.refused("tasks", "cancel", first, "-y")
        [entry, _] = await tasks.get_audit()
        assert (entry.act, entry.target, entry.detail) == ("cancel-task", second, "command line")
        assert entry.by == f"{getpass.getuser()}@{socket.gethostname()}"


async def test_what_failed_says_so_in_json_too(cli: Commands) -> None:
    """Nothing was done: 0, a message, and the exit code."""
    ran = await cli.run("tasks", "cancel", "nope", "-y", "--json")
    assert (ran.exit_code, ran.stdout.split()) == (1, ["{", '"canceled":', "0", "}"])
    assert "there is no task nope" in ran.stderr


DESTROYING = ["tasks cancel x", "batches cancel x", "dead discard default", "schedules cancel x"]


@pytest.mark.parametrize("words", DESTROYING)
async def test_without_a_terminal_it_must_be_said(settings: MakeSettings, cli: Commands, words: str) -> None:
    """What destroys something asks; where nobody can answer it wants `--yes`, and does nothing."""
    assert "There is no terminal to ask at: say --yes" in await cli.refused(*words.split(), code=2)
    async with processor_of(settings()) as tasks:
        assert await tasks.get_audit() == []


@pytest.mark.parametrize("answer, code", [("n", 1), ("y", 0), ("\x03", 1)], ids=["no", "yes", "ctrl-c"])
async def test_it_asks(settings: MakeSettings, cli: Commands, answer: str, code: int) -> None:
    """At a terminal, where Ctrl-C is an answer too."""
    async with processor_of(settings(), Jobs()) as tasks:
        task_id = await tasks.enqueue(ref(Jobs).note, "a")
        with terminal("tasks", "cancel", task_id, env=cli.env) as at:
            at.until(f"Cancel task {task_id}? [y/N]")
            at.press(answer if code or answer == "\x03" else f"{answer}\n")
            at.press("" if answer == "\x03" else "\n")
            assert at.wait() == code
        assert (await tasks.get_task(task_id) is None) == (code == 0)
        await tasks.cancel_task(task_id)


async def test_cancel_and_retry_a_batch(settings: MakeSettings, cli: Commands) -> None:
    """What failed of it runs again; it is canceled as a whole."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        async with tasks.batch() as batch:
            batch.on(retries=1).enqueue(ref(Jobs).fail, "a")
        await ended(tasks, batch.id)
        assert await cli.json("batches", "retry", batch.id) == {"retried": 1}
        await wait_until(lambda: jobs.notes.count("fails a") == 2)
        assert (await ended(tasks, batch.id)).failed == 1
        assert "there is no batch nope" in await cli.refused("batches", "retry", "nope")
        async with tasks.batch() as batch:
            batch.enqueue(ref(Jobs).wait, "b")
        await jobs.noted("b begins")
        assert f"Canceled batch {batch.id}." in await cli.said("batches", "cancel", batch.id, "-y")
        assert (await ended(tasks, batch.id)).state == "canceled"
        assert "no batch nope to cancel" in await cli.refused("batches", "cancel", "nope", "-y")
        assert [entry.act for entry in await tasks.get_audit()] == ["cancel-batch", "retry-batch"]
        await tasks.discard_dead_tasks("default")


async def test_retry_dead_tasks(settings: MakeSettings, cli: Commands) -> None:
    """One by its id, those that failed like one, so many, or all."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        first, other, second = [await dies(tasks, message) for message in ("line 1", "no disk", "line 2")]
        assert await cli.json("dead", "retry", "default", other) == {"retried": 1}
        await wait_until(lambda: jobs.notes.count("fails no disk") == 2)
        assert "2 tasks of queue default will run again." in await cli.said("dead", "retry", "default", "--like", first)
        await wait_until(lambda: jobs.notes.count("fails line 2") == 2)
        await dead(tasks, 3)
        assert await cli.json("dead", "retry", "default", "--count", "1", "--retries", "1") == {"retried": 1}
        await dead(tasks, 3)
        assert "not among the thousand" in await cli.refused("dead", "retry", "default", "--like", "nope")
        assert "not both" in await cli.refused("dead", "retry", "default", first, "--like", second, code=2)
        assert "none of these is a dead task" in await cli.refused("dead", "retry", "default", "nope")
        await tasks.discard_dead_tasks("default")
        assert "no task of queue default is dead" in await cli.refused("dead", "retry", "default")


async def test_discard_dead_tasks(settings: MakeSettings, cli: Commands) -> None:
    """Likewise; of a tenant only, when that is said."""
    async with working(settings(), Jobs()) as tasks:
        ids = [await dies(tasks, f"line {number}") for number in range(3)]
        none = await cli.refused("dead", "discard", "default", "-y", "--tenant", "acme")
        assert "no task of queue default and tenant acme is dead" in none
        assert await cli.json("dead", "discard", "default", ids[0], "-y") == {"discarded": 1}
        assert "Discarded 1 dead task of queue" in await cli.said("dead", "discard", "default", "--count", "1", "-y")
        assert await cli.json("dead", "discard", "default", "-y") == {"discarded": 1}
        await dead(tasks, 0)
        assert [entry.target for entry in await tasks.get_audit()] == ["queue default"] * 3


async def test_dead_tasks_that_match(settings: MakeSettings, cli: Commands) -> None:
    """Are listed, counted before the question, retried and discarded, and no others; the act says which were meant."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        first, other, second = [await dies(tasks, message) for message in ("line 1", "no disk", "line 2")]
        which = ["--filter", "message:line error:ValueError"]
        assert [each["task_id"] for each in await cli.json("dead", "list", *which)] == [second, first]
        assert [each["count"] for each in await cli.json("dead", "groups", "default", *which)] == [2]
        asked = "Discard 2 dead tasks of queue default matching message:line error:ValueError? There is no terminal"
        assert asked in await cli.refused("dead", "discard", "default", *which, code=2)
        assert await cli.json("dead", "retry", "default", *which, "--count", "1") == {"retried": 1}
        await wait_until(lambda: jobs.notes.count("fails line 1") == 2)
        await dead(tasks, 3)
        assert "not among those matching disk" in await cli.refused(
            "dead", "retry", "default", "--like", first, "--filter", "disk"
        )
        assert await cli.json("dead", "discard", "default", "--like", first, *which, "-y") == {"discarded": 2}
        nothing = "no dead task of queue default matches message:line error:ValueError"
        assert nothing in await cli.refused("dead", "retry", "default", *which)
        assert "No dead task matches" in await cli.said("dead", "list", *which)
        assert [each["task_id"] for each in await cli.json("dead", "list")] == [other]
        await tasks.discard_dead_tasks("default")
        details = [entry.detail for entry in await tasks.get_audit()]
        assert details == [f"command line: {count} matching {which[1]}" for count in ("2 tasks", "1 task")]


WRONG_FILTERS = {
    "dead list --filter colour:red": "filter term `colour:red`: there is no such field; there are call, error",
    "dead groups --filter died:2h": "filter term `died:2h`: write how long ago",
    "dead retry default --filter attempts:x": "filter term `attempts:x`: write a number",
    "dead discard default -y --filter=": "the filter is empty",
    "dead discard default x -y --filter a": "name tasks, or a --filter, not both",
    "queues show default --filter -": "filter term `-`: it says nothing",
}


@pytest.mark.parametrize("words", WRONG_FILTERS)
async def test_what_is_no_filter(settings: MakeSettings, cli: Commands, words: str) -> None:
    """Is misuse: one line, and nothing is done."""
    async with working(settings(), Jobs()) as tasks:
        await dies(tasks, "no disk")
        said = await cli.refused(*words.split(), code=2)
        assert WRONG_FILTERS[words] in said
        assert len(said.splitlines()) == 1
        assert await tasks.discard_dead_tasks("default") == 1


@pytest.mark.parametrize("words", ["dead retry deflt", "dead discard deflt -y", "dead retry deflt x"])
async def test_dead_tasks_of_no_queue(cli: Commands, words: str) -> None:
    """A name that nobody knows is a slip: it says so, and ends with 1."""
    assert "there is no queue deflt: `taskproc queues`" in await cli.refused(*words.split())
    ran = await cli.run(*words.split(), "--json")
    assert (ran.exit_code, [*json.loads(ran.stdout).values()]) == (1, [0])


async def test_one_dead_task(settings: MakeSettings, cli: Commands) -> None:
    """By its id alone; what is not dead, or not there, is left alone."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        task_id = await dies(tasks, "no disk")
        assert f"Task {task_id} of queue default will run again." in await cli.said("tasks", "retry", task_id)
        await wait_until(lambda: jobs.notes.count("fails no disk") == 2)
        await dead(tasks, 1)
        assert "say --yes" in await cli.refused("tasks", "discard", task_id, code=2)
        assert await cli.json("tasks", "discard", task_id, "-y") == {"discarded": 1}
        waiting = await tasks.on("unserved").enqueue(ref(Jobs).note, "a")
        for act in (["retry"], ["discard", "-y"]):
            assert f"there is no task {task_id}" in await cli.refused("tasks", act[0], task_id, *act[1:])
            said = await cli.refused("tasks", act[0], waiting, *act[1:])
            assert f"is not dead but ready: `taskproc tasks cancel {waiting}`" in said
        await tasks.cancel_task(waiting)
        acts = [(entry.act, entry.target, entry.detail) for entry in await tasks.get_audit()]
        detail = f"command line: 1 task: {task_id}"
        assert acts == [("discard-dead", "queue default", detail), ("retry-dead", "queue default", detail)]


async def test_a_pause_of_no_queue(settings: MakeSettings, cli: Commands) -> None:
    """Is made, since the queue may be yet to come, with a hint; one that is served or holds something has none."""
    async with working(settings(queues=["default", "served"]), Jobs()) as tasks:
        task_id = await tasks.on("unserved").enqueue(ref(Jobs).note, "a")
        assert "No such queue has anything now" in await cli.said("pause", "--queue", "typo")
        for known in ("served", "unserved"):
            assert "No such queue" not in await cli.said("pause", "--queue", known)
        assert {pause.queue for pause in await tasks.get_pauses()} == {"typo", "served", "unserved"}
        for queue in ("typo", "served", "unserved"):
            await tasks.resume(queue=queue)
        await tasks.cancel_task(task_id)


async def test_the_question_says_how_much(settings: MakeSettings, cli: Commands) -> None:
    """Before dead tasks are discarded, or a batch is canceled."""
    async with working(settings(), Jobs()) as tasks:
        ids = [await dies(tasks, f"line {number}") for number in range(3)]
        discard = ["dead", "discard", "default"]
        assert "Discard 3 dead tasks of queue default?" in await cli.refused(*discard, code=2)
        assert "Discard 2 dead tasks of" in await cli.refused(*discard, "--count", "2", code=2)
        assert "Discard 1 dead task of" in await cli.refused(*discard, ids[0], code=2)
        assert "Discard 0 dead tasks of queue default of tenant a?" in await cli.refused(
            *discard, "--tenant", "a", code=2
        )
        async with tasks.batch(queue="unserved") as batch:
            batch.enqueue(ref(Jobs).note, "a")
        assert "1 task to go" in await cli.refused("batches", "cancel", batch.id, code=2)
        await tasks.cancel_batch(batch.id)
        await tasks.discard_dead_tasks("default")


async def test_pause_and_resume(settings: MakeSettings, cli: Commands) -> None:
    """A queue, a tenant and everything, each by itself, with who, why and until when."""
    async with processor_of(settings()) as tasks:
        assert "Paused queue mail for 30 min." in await cli.said(
            "pause", "--queue", "mail", "--for", "30m", "--reason", "disk is full"
        )
        assert await cli.json("pause", "--tenant", "acme", "--until", "2999-01-31T18:30:00+02:00") == {"paused": 1}
        assert "Paused everything until it is resumed." in await cli.said("pause")
        pauses = {(pause.queue, pause.tenant): pause for pause in await tasks.get_pauses()}
        mail = pauses["mail", None]
        assert (mail.reason, mail.by) == ("disk is full", f"{getpass.getuser()}@{socket.gethostname()}")
        assert mail.until is not None
        assert timedelta(minutes=29) < mail.until - datetime.now(UTC) <= timedelta(minutes=30, seconds=1)
        assert pauses[None, "acme"].until == datetime(2999, 1, 31, 16, 30, tzinfo=UTC)
        assert pauses[None, None].until is None
        table = await cli.said("pauses")
        assert all(word in table for word in ("queue mail", "tenant acme", "everything", "disk is full"))
        assert len(await cli.json("pauses")) == 3
        assert "everything is paused" in await cli.said("status")
        for which in (["--queue", "mail"], ["--tenant", "acme"], []):
            assert await cli.json("resume", *which) == {"resumed": 1}
        assert "there is no pause of everything" in await cli.refused("resume")
        audit = await cli.json("audit")
        assert [entry["act"] for entry in audit] == ["resume"] * 3 + ["pause"] * 3
        assert audit[-1]["detail"] == "command line: for 30 min: disk is full"
        assert "queue mail" in await cli.said("audit", "--skip", "5")


WRONG_PAUSES = {
    "--for 30": "'30' is no time: write 30m for minutes",
    "--for soon": "'soon' is no time: write 30s, 15m, 2h or 1d12h",
    "--for 0s": "'0s' is no time",
    "--for 99999999999999d": "is no time",
    "--until soon": "--until 'soon' is no time: write 18:30, or 2026-01-31T18:30",
    "--until 2020-01-01": "is over already",
    "--for 5m --until 18:30": "say --for or --until, not both",
    "--queue a --tenant b": "there is no pause of both together",
    "--queue a:b": "queue name 'a:b' is not allowed",
}


@pytest.mark.parametrize("words", WRONG_PAUSES)
async def test_pauses_that_make_no_sense(settings: MakeSettings, cli: Commands, words: str) -> None:
    """Are refused as misuse, and nothing is paused."""
    assert WRONG_PAUSES[words] in await cli.refused("pause", *words.split(), code=2)
    async with processor_of(settings()) as tasks:
        assert await tasks.get_pauses() == []


async def test_until_a_time_of_day(settings: MakeSettings, cli: Commands) -> None:
    """Is the next such time, where the command is given."""
    async with processor_of(settings()) as tasks:
        wanted = datetime.now().astimezone().replace(second=0, microsecond=0) - timedelta(minutes=5)
        await cli.said("pause", "--queue", "mail", "--until", f"{wanted:%H:%M}")
        [pause] = await tasks.get_pauses()
        assert pause.until == wanted + timedelta(days=1)
        await tasks.resume(queue="mail")


async def test_schedules(settings: MakeSettings, cli: Commands) -> None:
    """Are started, paused, resumed and removed."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="yearly", cron="0 0 1 1 *"), ref(Jobs).note, "a")
        assert await cli.json("schedules", "trigger", "yearly") == {"triggered": 1}
        await jobs.noted("a")
        assert "Paused schedule yearly." in await cli.said("schedules", "pause", "yearly")
        assert "paused" in await cli.said("schedules")
        assert await cli.json("schedules", "resume", "yearly", "--tenant", "default") == {"resumed": 1}
        assert "no schedule yearly" in await cli.refused("schedules", "pause", "yearly", "--tenant", "b")
        assert await cli.json("schedules", "cancel", "yearly", "-y") == {"canceled": 1}
        for act in (["trigger"], ["pause"], ["resume"], ["cancel", "-y"]):
            assert "there is no schedule yearly" in await cli.refused("schedules", act[0], "yearly", *act[1:])
        acts = ["cancel-schedule", "resume-schedule", "pause-schedule", "trigger-schedule"]
        assert [entry.act for entry in await tasks.get_audit()] == acts


async def test_drain_a_worker(settings: MakeSettings, cli: Commands) -> None:
    """It fetches no more until it is told to."""
    jobs = Jobs()
    async with working(settings(), jobs) as tasks:
        [worker] = await tasks.get_workers()
        assert await cli.json("workers", "drain", worker.id) == {"drained": 1}
        [worker] = await tasks.get_workers()
        assert worker.draining
        assert "draining" in await cli.said("workers")
        await tasks.enqueue(jobs.note, "a")
        assert "fetches again" in await cli.said("workers", "resume", worker.id)
        await jobs.noted("a")
        assert "there is no worker nope" in await cli.refused("workers", "drain", "nope")
        assert [entry.act for entry in await tasks.get_audit()] == ["resume-worker", "drain-worker"]


async def dead(tasks: TaskProcessor, number: int) -> None:
    """Waits until so many are."""

    async def are_dead() -> bool:
        return (await tasks.get_queue("default")).deadletter == number

    await wait_until(are_dead, what=f"{number} dead tasks")
