"""Commands that look: their tables, and the same as JSON."""

from datetime import timedelta

import pytest
from pydantic_core import to_jsonable_python

from taskproc import ScheduleData, TaskProcessor, background, ref
from tests.cli.commands import Commands
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import Jobs, ended, processor_of, working


@background
async def login(user: str, password: str) -> None:
    """Never run here."""


async def dies(tasks: TaskProcessor, message: str, queue: str = "default") -> str:
    """A task that is dead."""
    task_id = await tasks.on(queue, retries=1).enqueue(ref(Jobs).fail, message)

    async def is_dead() -> bool:
        task = await tasks.get_task(task_id)
        return task is not None and task.state == "dead"

    await wait_until(is_dead, what=f"death of {task_id}")
    return task_id


async def test_queues(settings: MakeSettings, cli: Commands) -> None:
    """Each with what is ready, runs, is delayed and dead; as JSON what `get_queues()` returns."""
    async with processor_of(settings(), Jobs()) as tasks:
        ids = [await tasks.on("mail").enqueue(ref(Jobs).note, "a") for _ in range(3)]
        ids.append(await tasks.on("mail", delay=timedelta(hours=1)).enqueue(ref(Jobs).note, "b"))
        table = await cli.lines("queues")
        assert table[0] == ["queue", "ready", "running", "delayed", "dead", "oldest"]
        assert ["mail", "3", "0", "1", "0"] in [line[:5] for line in table]
        assert await cli.json("queues", "list") == to_jsonable_python(await tasks.get_queues())
        assert await cli.json("queues", "list", "--tenant", "acme") == to_jsonable_python(
            [await tasks.get_queue(name, tenant="acme") for name in ("default", "mail")]
        )
        await discard(tasks, ids)


async def test_a_queue_and_its_tasks(settings: MakeSettings, cli: Commands) -> None:
    """In serving order, a page at a time, of each state."""
    async with processor_of(settings(), Jobs()) as tasks:
        ids = [await tasks.on("mail").enqueue(ref(Jobs).note, "a") for _ in range(3)]
        late = await tasks.on("mail", delay=timedelta(minutes=90)).enqueue(ref(Jobs).note, "b")
        table = await cli.said("queues", "show", "mail", "--take", "2")
        assert "Ready: 2 of 3" in table
        assert [line.split()[0] for line in table.splitlines()[-2:]] == ids[:2]
        found = await cli.json("queues", "show", "mail", "--skip", "1")
        assert [task["task_id"] for task in found["tasks"]] == ids[1:]
        assert (found["name"], found["length"]) == ("mail", 3)
        [line] = [line for line in await cli.lines("queues", "show", "mail", "--state", "delayed") if late in line]
        assert "in 1 h" in " ".join(line)
        assert "No task is running." in await cli.said("queues", "show", "mail", "--state", "running")
        found = await cli.json("queues", "show", "mail", "--filter", f"call:note -id:{ids[0]}")
        assert [task["task_id"] for task in found["tasks"]] == ids[1:]
        assert "Ready, those that match note" in await cli.said("queues", "show", "mail", "--filter", "note")
        assert "No task is ready and matches x." in await cli.said("queues", "show", "mail", "--filter", "x")
        await discard(tasks, [*ids, late])


async def test_tenants_of_a_fair_queue(settings: MakeSettings, cli: Commands) -> None:
    """Whose the ready tasks are; and tenants by themselves."""
    async with processor_of(settings(), Jobs()) as tasks:
        ids = [await tasks.on("mail[fair]", tenant=who).enqueue(ref(Jobs).note, "a") for who in ("a", "a", "b")]
        assert "a 2" in await cli.said("queues", "show", "mail[fair]")
        rows = {row["tenant"]: row for row in await cli.json("tenants")}
        assert rows["a"] == {"tenant": "a", "batches": 0, "schedules": 0, "ready": 2, "paused": False}
        assert ["b", "0", "0", "1"] in await cli.lines("tenants")
        await discard(tasks, ids)


async def test_a_task(settings: MakeSettings, cli: Commands) -> None:
    """Its facts, its attempts and its last error."""
    async with working(settings(), Jobs()) as tasks:
        task_id = await dies(tasks, "no disk")
        table = await cli.said("tasks", "show", task_id)
        assert ["state", "dead"] in [line.split() for line in table.splitlines()]
        assert "ValueError: no disk" in table
        assert "Traceback" in table
        found = await cli.json("tasks", "show", task_id)
        assert found["state"] == "dead"
        assert [each["outcome"] for each in found["attempts"]] == ["failed"]
        assert found["arguments"] == {"1": "no disk"}
        assert "It is dead since" in await cli.said("tasks", "explain", task_id)
        assert (await cli.json("tasks", "explain", task_id))["explanation"] == await tasks.explain(task_id)
        await tasks.discard_dead_tasks("default")


async def test_secrets_are_not_shown_unasked(settings: MakeSettings, cli: Commands) -> None:
    """Arguments whose names look secret are hidden, at any depth, unless `--reveal` is said."""
    async with processor_of(settings(), Jobs()) as tasks:
        task_id = await tasks.enqueue(login, user="ann", password="opensesame")
        shown = ["tasks", "show", task_id]
        assert "ann" in (table := await cli.said(*shown))
        assert "opensesame" not in table
        assert (await cli.json(*shown))["arguments"] == {"user": "ann", "password": "•••••• hidden"}
        assert "opensesame" in await cli.said(*shown, "--reveal")
        await tasks.cancel_task(task_id)


async def test_a_task_that_is_not_there(cli: Commands) -> None:
    """Is an error for `show`, with JSON too; `explain` says why, and ends with 1."""
    assert "there is no task nope" in await cli.refused("tasks", "show", "nope")
    assert "there is no task nope" in await cli.refused("tasks", "show", "nope", "--json")
    explained = await cli.run("tasks", "explain", "nope")
    assert (explained.exit_code, "There is no such task" in explained.stdout) == (1, True)


async def test_what_is_another_tenants_is_not_there(settings: MakeSettings, cli: Commands) -> None:
    """With `--tenant`."""
    async with processor_of(settings(), Jobs()) as tasks:
        task_id = await tasks.on(tenant="a").enqueue(ref(Jobs).note, "a")
        await cli.refused("tasks", "show", task_id, "--tenant", "b")
        assert await cli.json("tasks", "show", task_id, "--tenant", "a")
        await tasks.cancel_task(task_id)


async def test_batches(settings: MakeSettings, cli: Commands) -> None:
    """The newest first; one of them with its counts."""
    async with working(settings(), Jobs()) as tasks:
        ids: list[str] = []
        for scope in ("first", "second"):
            async with tasks.batch(scope=scope) as batch:
                batch.enqueue(ref(Jobs).note, scope)
            ids.insert(0, batch.id)
            await ended(tasks, batch.id)
        assert [line[0] for line in (await cli.lines("batches"))[1:]] == ids
        assert [each["id"] for each in await cli.json("batches", "--skip", "1")] == ids[1:]
        assert await cli.json("batches", "show", ids[0]) == to_jsonable_python(await tasks.get_batch(ids[0]))
        assert ["done", "1", "of", "1"] in await cli.lines("batches", "show", ids[0])
        assert "Tenant acme has no batches." in await cli.said("batches", "--tenant", "acme")
        assert "there is no batch nope" in await cli.refused("batches", "show", "nope")


async def test_tasks_are_no_batches(settings: MakeSettings, cli: Commands) -> None:
    """Whoever has the id of the one where the other is asked for, is told."""
    async with processor_of(settings(), Jobs()) as tasks:
        async with tasks.batch() as batch:
            batch.enqueue(ref(Jobs).note, "a")
        [task] = await tasks.get_tasks_in_queue("default")
        for act in (["show"], ["cancel", "-y"], ["retry"]):
            said = await cli.refused("tasks", act[0], batch.id, *act[1:])
            assert said == f"{batch.id} is a batch, not a task: `taskproc batches show {batch.id}`"
            said = await cli.refused("batches", act[0], task.task_id, *act[1:])
            its = f"{task.task_id} is a task, not a batch, which is of batch {batch.id}"
            assert said == f"{its}: `taskproc tasks show {task.task_id}`"
        assert "is a batch" in (await cli.run("tasks", "explain", batch.id)).stderr
        await tasks.cancel_batch(batch.id)


async def test_batches_of_other_tenants(settings: MakeSettings, cli: Commands) -> None:
    """Are hinted at where no tenant was named, and the own has none."""
    async with processor_of(settings(), Jobs()) as tasks:
        async with tasks.batch(tenant="acme") as batch:
            batch.enqueue(ref(Jobs).note, "a")
        alone = await tasks.on(tenant="none").enqueue(ref(Jobs).note, "a")
        assert (await cli.said("batches")).endswith("Name one that has some, with --tenant: acme.\n")
        assert await cli.json("batches") == []
        assert await cli.said("batches", "--tenant", "none") == "Tenant none has no batches.\n"
        await tasks.cancel_batch(batch.id)
        await tasks.cancel_task(alone)


async def test_dead_tasks(settings: MakeSettings, cli: Commands) -> None:
    """Of one queue or of all, the one that died last, first; and together with those that failed alike."""
    async with working(settings(queues=["default", "mail"]), Jobs()) as tasks:
        ids = [
            await dies(tasks, "line 1 is bad"),
            await dies(tasks, "line 2 is bad", "mail"),
            await dies(tasks, "line 3 is bad"),
        ]
        assert [each["task_id"] for each in await cli.json("dead")] == ids[::-1]
        assert [each["task_id"] for each in await cli.json("dead", "list", "mail")] == [ids[1]]
        assert [line[1] for line in (await cli.lines("dead", "list", "--skip", "1"))[1:]] == ids[1::-1]
        groups = await cli.json("dead", "groups")
        assert [(each["queue"], each["count"]) for each in groups] == [("default", 2), ("mail", 1)]
        assert "2  ValueError: line 3 is bad" in await cli.said("dead", "groups", "default")
        for queue in ("default", "mail"):
            await tasks.discard_dead_tasks(queue)
        assert "No task is dead." in await cli.said("dead", "groups")


async def test_schedules(settings: MakeSettings, cli: Commands) -> None:
    """With their next instants, in their own time zone too."""
    async with processor_of(settings(), Jobs()) as tasks:
        vienna = ScheduleData(id="nightly", cron="0 3 * * *", timezone="Europe/Vienna", scope="Clean up")
        await tasks.upsert_schedule(vienna, ref(Jobs).note, "a")
        [line] = (await cli.lines("schedules"))[1:]
        assert line[:7] == ["nightly", "0", "3", "*", "*", "*", "Europe/Vienna"]
        assert await cli.json("schedules") == to_jsonable_python(await tasks.get_schedules("default"))
        found = await cli.json("schedules", "show", "nightly", "--next", "3")
        assert len(found["upcoming"]) == 3
        assert all("T03:00:00+0" in instant for instant in found["upcoming"])
        assert "03:00:00" in await cli.said("schedules", "show", "nightly")
        assert "there is no schedule daily" in await cli.refused("schedules", "show", "daily")
        assert "there is no schedule nightly" in await cli.refused("schedules", "show", "nightly", "--tenant", "b")
        await tasks.cancel_schedule("nightly")


async def test_a_schedule_with_seconds(settings: MakeSettings, cli: Commands) -> None:
    """Is read as it was meant, whatever the settings of the command."""
    async with processor_of(settings(use_cron_seconds=True), Jobs()) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="often", cron="*/10 * * * * *"), ref(Jobs).note, "a")
        first, second = (await cli.json("schedules", "show", "often", "--next", "2"))["upcoming"]
        assert first[:17] == second[:17] or first[17:19] == "50"
        await tasks.cancel_schedule("often")


async def test_workers(settings: MakeSettings, cli: Commands) -> None:
    """With their slots; and one with what it runs."""
    jobs = Jobs()
    async with working(settings(max_workers=3), jobs) as tasks:
        task_id = await tasks.enqueue(jobs.wait, "a")
        await jobs.noted("a begins")
        [worker] = await tasks.get_workers()
        [line] = (await cli.lines("workers"))[1:]
        assert (line[0], line[2]) == (worker.id, "1/3")
        [found] = await cli.json("workers")
        assert (found["id"], found["queues"]) == (worker.id, ["default"])
        found = await cli.json("workers", "show", worker.id)
        assert [task["task_id"] for task in found["tasks"]] == [task_id]
        assert task_id in await cli.said("workers", "show", worker.id)
        assert "there is no worker nope" in await cli.refused("workers", "show", "nope")
        jobs.go_on.set()
    assert "No worker runs." in await cli.said("workers")


async def test_status(settings: MakeSettings, cli: Commands) -> None:
    """Server, queues and workers in one look; a queue that nobody serves stands out."""
    async with working(settings(), Jobs()) as tasks:
        unserved = await tasks.on("nobody").enqueue(ref(Jobs).note, "a")
        await tasks.enqueue(ref(Jobs).note, "b")
        table = await cli.said("status")
        assert table.splitlines()[0].split()[0].startswith("redis://")
        assert "1 worker, " in table
        [line] = [line for line in table.splitlines() if line.startswith("nobody")]
        assert line.endswith("no worker")
        found = await cli.json("status")
        assert [queue["name"] for queue in found["queues"]] == ["default", "nobody"]
        assert found["paused"] is False
        await tasks.cancel_task(unserved)


async def test_status_of_nothing(cli: Commands) -> None:
    """An empty server has a status too."""
    assert "No worker runs." in await cli.said("status")
    assert (await cli.json("status"))["workers"] == []


@pytest.mark.parametrize("words", ["batches", "schedules", "pauses", "audit", "tenants", "dead", "workers"])
async def test_nothing_is_an_empty_list(cli: Commands, words: str) -> None:
    """And a sentence for people."""
    assert await cli.json(words) == []
    assert (await cli.said(words)).strip().endswith(".")


async def discard(tasks: TaskProcessor, ids: list[str]) -> None:
    """Removes what waits."""
    for each in ids:
        await tasks.cancel_task(each)
