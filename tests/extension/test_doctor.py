"""What will lose or hold up tasks is found, and said with its remedy: what it has, may do, and left behind."""

import asyncio
import time
from collections.abc import Collection
from datetime import timedelta

import pytest
import redis

from taskproc import ScheduleData, TaskProcessor, doctor, ref
from taskproc.doctor import Finding, worst
from tests.conftest import MakeSettings
from tests.extension.doctor_kit import found, on
from tests.kit import Server, wait_until
from tests.kit.acl import as_user, create_user
from tests.kit.topologies import command
from tests.worker.kit import Jobs, processor_of, running, working

# The way to the server, and what is missing here


@pytest.mark.parametrize(
    "url, levels",
    [
        ("redis://localhost", ["ok"]),
        ("redis://127.0.0.1:7000", ["ok"]),
        ("redis://[::1]:7000", ["ok"]),
        ("unix:///run/redis.sock", ["ok"]),
        ("embedded", ["ok"]),
        ("rediss://u:secret@redis.example", ["ok"]),
        ("rediss://redis.example?ssl_certfile=a&ssl_keyfile=b", ["ok"]),
        ("redis://redis.example", ["warning", "advice"]),
        ("redis://u:secret@10.0.0.1", ["advice"]),
        ("rediss+cluster://a,b", ["warning"]),
    ],
)
def test_the_way_to_the_server(url: str, levels: list[str]) -> None:
    """To another machine it wants a password, and had better have TLS; no password is shown."""
    findings = list(doctor._about_connection(url))
    assert [finding.level for finding in findings] == levels
    said = {"ok": "connected to", "warning": "without a password", "advice": "is not encrypted"}
    assert all(said[finding.level] in finding.what for finding in findings)
    assert "secret" not in "".join(map(str, findings))


def test_what_is_missing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be faster with it."""

    def find(name: str) -> object:
        return None if name == "uvloop" else object()

    monkeypatch.setattr("importlib.util.find_spec", find)
    [finding] = doctor._about_programs()
    assert (finding.level, str(finding)) == ("advice", "uvloop missing: pip install 'taskproc[fast]' makes it faster")


def test_the_worst_counts() -> None:
    """Of nothing, nothing."""
    assert worst([]) == "ok"
    assert worst([Finding("advice", "clock", "c")]) == "advice"
    assert worst([Finding("warning", "clock", "a"), Finding("ok", "clock", "b")]) == "warning"
    assert worst([Finding("warning", "clock", "a"), Finding("error", "clock", "b")]) == "error"


# The layout, and rights


async def test_another_layout(settings: MakeSettings, client: redis.Redis) -> None:
    """Data of another version are no place for this one."""
    async with processor_of(settings(), Jobs()) as tasks:
        assert "have the layout of this version, all in hash slot" in await found(tasks, "ok")
        client.hset(f"{tasks.settings.prefix}:meta", "schema", "7")
        assert "have layout 7, this version of taskproc has 1: use another prefix" in await found(tasks, "error")


async def test_a_user_with_few_rights(settings: MakeSettings, client: redis.Redis) -> None:
    """What may not be asked is said, and holds up no worker."""
    made = settings()
    made.redis = as_user(made.redis, create_user(client, "worker", made.prefix))
    async with working(made, Jobs()) as tasks:
        assert "role of the server could not be checked: allow the user +info" in await found(tasks, "advice")
        assert "the user may do all" in await found(tasks, "ok")
        assert await found(tasks, "warning") + await found(tasks, "error") == ""


@pytest.mark.parametrize("more, missing", [(["+info"], "+config|get"), (["+info", "+config|get"], "")])
async def test_what_the_doctor_may_be_allowed(
    settings: MakeSettings, client: redis.Redis, more: list[str], missing: str
) -> None:
    """Two commands beside those of a worker."""
    made = settings()
    made.redis = as_user(made.redis, create_user(client, "worker", made.prefix, *more))
    async with processor_of(made, Jobs()) as tasks:
        advice = await found(tasks, "advice")
    assert "allow the user +info" not in advice
    assert ("allow the user +config|get" in advice) == bool(missing)


@pytest.mark.parametrize("use, level", [("on", "error"), ("off", "advice")])
async def test_a_user_who_cannot_work(settings: MakeSettings, client: redis.Redis, use: str, level: str) -> None:
    """A worker needs more than what only enqueues; the commands are named."""
    made = settings(use_hosted_service=use == "on")
    made.redis = as_user(made.redis, create_user(client, "producer", made.prefix))
    async with processor_of(made, Jobs()) as tasks:
        said = await found(tasks, level)
    assert "a worker with this user cannot work: the server's user may not do what a worker does: " in said
    assert "lpop" in said


async def test_a_user_who_may_only_look(settings: MakeSettings, client: redis.Redis) -> None:
    """All is looked at that such a user can see."""
    made = settings(use_hosted_service=False)
    async with working(made, Jobs()):
        looks = made.model_copy(
            update={"redis": as_user(made.redis, create_user(client, "reader", made.prefix, "+info", "+config|get"))}
        )
        async with TaskProcessor(looks) as tasks:
            assert "cannot work" in await found(tasks, "advice")
            assert "could not be looked at" not in await found(tasks, "advice")
            assert "workers that run: 1" in await found(tasks, "ok")


async def test_a_right_that_even_the_doctor_needs(settings: MakeSettings, client: redis.Redis) -> None:
    """It is named, and the other checks go on."""
    made = settings()
    made.redis = as_user(made.redis, create_user(client, "worker", made.prefix, without="SSCAN"))
    async with processor_of(made, Jobs()) as tasks:
        findings = await tasks.examine()
    [lacking] = [finding for finding in findings if finding.about == "queues"]
    assert lacking.level == "advice"
    assert lacking.what.startswith("this could not be looked at: ")
    assert "sscan" in lacking.what.lower()
    assert {"connection", "clock", "prefix", "rights", "workers", "stuck"} <= {finding.about for finding in findings}


async def test_damaged_data_end_no_check_but_their_own(settings: MakeSettings, client: redis.Redis) -> None:
    """What cannot be read is said."""
    async with processor_of(settings(), Jobs()) as tasks:
        client.set(f"{tasks.settings.prefix}:schedules", "no index")
        lonely = await tasks.on("lonely").enqueue(ref(Jobs).note, "x")
        warnings = await found(tasks, "warning")
        client.delete(f"{tasks.settings.prefix}:schedules")
        assert await tasks.cancel_task(lonely)
        assert "this could not be read: " in warnings
        assert "WRONGTYPE" in warnings
        assert "no worker serves queue 'lonely'" in warnings


# What stands still


async def test_what_is_stuck() -> None:
    """What workers would have seen to long ago, if one ran."""
    with Server(appendonly="yes") as server:
        async with on(server) as tasks:
            assert await stuck(tasks) == []
            await hold_up(tasks, server, minutes=10)
            assert await stuck(tasks) == [
                "1 attempt has long outrun the invisibility",
                "1 batch was never completed: the producer is gone",
                "1 canceled batch has queued tasks that are not yet counted",
                "1 delayed task is long due",
                "1 schedule should have started something a while ago",
            ]
            warnings = await found(tasks, "warning")
            assert "workers that have died: 1 (there), holding 0 tasks: look why they ended" in warnings
            assert "no worker runs" in warnings, "a dead one does not count"
            assert "no worker serves queue 'slow', where 1 task waits" in warnings, "nor does a dead one serve a queue"
            await tasks.pause()
            assert "1 schedule should have started something a while ago" not in await stuck(tasks)


async def test_workers_see_to_what_is_stuck() -> None:
    """So the remedy is true: where one runs, it goes away; what producers left behind after a minute, see there."""
    with Server(appendonly="yes") as server:
        async with on(server, pushback_frequency=0.1, worker_timeout=0.3) as tasks:
            await hold_up(tasks, server, minutes=10)
            async with running(tasks):
                await wait_until(lambda: _is_settled(tasks), 10, "nothing else that is stuck")


async def _is_settled(tasks: TaskProcessor) -> bool:
    return await stuck(tasks) == ["1 batch was never completed: the producer is gone"]


@pytest.mark.parametrize("timeout", [None, timedelta(minutes=30)])
async def test_what_is_a_little_late_is_not_stuck(timeout: timedelta | None) -> None:
    """Workers do it in a moment, or when they may: after an absence nobody is blamed for `worker_timeout`."""
    with Server(appendonly="yes") as server:
        async with on(server, **({} if timeout is None else {"worker_timeout": timeout})) as tasks:
            await hold_up(tasks, server, minutes=1 if timeout is None else 10)
            assert await stuck(tasks) == ["1 schedule will start nothing while no worker runs"]


async def test_schedules_without_a_worker(settings: MakeSettings) -> None:
    """They will start nothing, however far their next instant is."""
    async with processor_of(settings(), Jobs()) as tasks:
        await tasks.upsert_schedule(ScheduleData(id="yearly", cron="0 0 1 1 *"), ref(Jobs).note, "x")
        assert await stuck(tasks) == ["1 schedule will start nothing while no worker runs"]
        async with running(tasks):
            assert await stuck(tasks) == []
        await tasks.cancel_schedule("yearly")


async def stuck(processor: TaskProcessor) -> list[str]:
    """What stands still, without the remedies."""
    return sorted(finding.what for finding in await processor.examine() if finding.about == "stuck")


async def hold_up(processor: TaskProcessor, server: Server, minutes: int) -> None:
    """Writes down what a worker that died so long ago leaves behind: no test can wait for that."""
    then, prefix = int(time.time() - minutes * 60) * 1000, processor.settings.prefix
    command(server, "SADD", f"{prefix}:queues", "slow")
    for index, member in {
        "queue:slow:leased": "a",
        "queue:slow:delayed": "b",
        "open": "c/1",
        "canceled": "d",
        "schedules": "e",
        "workers": "w",
    }.items():
        command(server, "ZADD", f"{prefix}:{index}", then, member)
    command(server, "HSET", f"{prefix}:batch:d", "tenant", "default", "cancel", "1", "total", 5)
    command(server, "ZADD", f"{prefix}:batch:d:chunks", 5, "0")
    command(server, "ZADD", f"{prefix}:canceled", then, "a-task-of-no-batch")
    about = {"host": "there", "pid": 1, "since": then, "queues": "slow", "slots": 1, "version": "1"}
    command(server, "HSET", f"{prefix}:worker:w", *[word for pair in about.items() for word in pair])


async def test_what_stands_still(settings: MakeSettings) -> None:
    """Queues that nobody serves, dead tasks, a pause."""
    jobs = Jobs()
    async with working(settings(queues=["default"], retries=1), jobs) as tasks:
        lonely = await tasks.on("lonely").enqueue(jobs.note, "x")
        await tasks.enqueue(jobs.fail, "no")
        while not (await tasks.get_queue("default")).deadletter:
            await asyncio.sleep(0.01)
        await tasks.pause()
        await tasks.enqueue(jobs.note, "later")
        warnings = await found(tasks, "warning")
        assert "everything is paused: resume it" in warnings
        assert "'default'" not in warnings, "what a worker serves may wait"
        assert "no worker serves queue 'lonely', where 1 task waits: let a worker serve it" in warnings
        assert "queue 'default' has 1 dead task: look why they died, then retry or discard them" in await found(
            tasks, "advice"
        )
        await tasks.resume()
        assert "paused" not in await found(tasks, "warning")
        assert await tasks.cancel_task(lonely)
        assert await tasks.discard_dead_tasks("default") == 1


async def test_queues_that_are_held_up_by_hand(settings: MakeSettings) -> None:
    """Those that only draining workers serve, and those that are paused, where tasks wait; and workers that drain."""
    jobs = Jobs()
    made = settings(queues=["default", "mail"])
    async with working(made, jobs) as tasks:
        [drained] = await tasks.get_workers()
        assert await tasks.drain_worker(drained.id)
        await tasks.enqueue(jobs.note, "first")
        await tasks.pause(queue="mail")
        assert "a pause" not in await found(tasks, "warning"), "nothing waits there"
        mail = await tasks.on("mail").enqueue(jobs.note, "mail")
        warnings = await found(tasks, "warning")
        assert "workers that run: 1, and all are draining: let one go on, or start another" in warnings
        for queue in ("default", "mail"):
            assert f"only draining workers serve queue {queue!r}, where 1 task waits: let one go on" in warnings
        assert "a pause holds up queue 'mail', where 1 task waits: resume the queue" in warnings
        assert "a pause holds up queue 'default'" not in warnings
        async with processor_of(made, jobs) as other, running(other):
            await jobs.noted("first")
            assert "workers that run: 2, and 1 of them is draining" in await found(tasks, "ok")
            assert "draining" not in await found(tasks, "warning")
        await tasks.resume(queue="mail")
        assert await tasks.cancel_task(mail)


async def test_tenants_that_are_held_up_by_hand(settings: MakeSettings) -> None:
    """Those that are paused while tasks of theirs wait, in fair queues and in plain ones; and no others."""
    jobs = Jobs()
    async with working(settings(queues=["default", "mail[fair]"]), jobs) as tasks:
        for tenant in ("acme", "idle"):
            await tasks.pause(tenant=tenant)
        held = [await tasks.on("mail[fair]", tenant="acme").enqueue(jobs.note, "a") for _ in range(2)]
        held.append(await tasks.on(tenant="acme").enqueue(jobs.note, "a"))
        await tasks.enqueue(jobs.note, "another's comes up behind it")
        await jobs.noted("another's comes up behind it")
        warnings = await found(tasks, "warning")
        assert "a pause holds up tenant 'acme', of which 3 tasks wait: resume the tenant" in warnings
        assert "'idle'" not in warnings, "nothing of it waits"
        for task in held:
            assert await tasks.cancel_task(task)
        assert "a pause" not in await found(tasks, "warning")
        for tenant in ("acme", "idle"):
            await tasks.resume(tenant=tenant)


async def test_many_queues_are_counted() -> None:
    """Twenty are told of by name, and at most 1,000 are looked at."""
    with Server(appendonly="yes") as server:
        async with on(server, allowed_modules=["tests.worker.kit"]) as tasks:
            await asyncio.gather(*[tasks.on(f"q{number}").enqueue(ref(Jobs).note, "x") for number in range(25)])
            warnings = await found(tasks, "warning")
            assert (warnings.count("where 1 task waits"), "no worker serves 5 more queues" in warnings) == (20, True)
            assert "queues or more" not in await found(tasks, "advice")
            command(server, "SADD", f"{tasks.settings.prefix}:queues", *[f"r{number}" for number in range(1000)])
            assert "there are 1000 queues or more" in await found(tasks, "advice")
            command(server, "SADD", f"{tasks.settings.prefix}:queues", *[f"s{number}" for number in range(9000)])
            before = _commands(server, {"sscan"})
            await tasks.examine()
            assert _commands(server, {"sscan"}) - before < 50, "it reads the names of all, 100 at a time"


async def test_it_takes_no_longer_with_many_tasks() -> None:
    """No check asks for more than 100 of a kind, nor sends more requests."""
    with Server(appendonly="yes") as server:
        async with on(server) as tasks:
            await hold_up(tasks, server, minutes=10)
            few = await _asked(tasks, server)
            script = "for i = 1, 5000 do redis.call('ZADD', KEYS[1], 1, i) end"
            for index in ("queue:slow:leased", "queue:slow:delayed", "open", "schedules"):
                command(server, "EVAL", script, 1, f"{tasks.settings.prefix}:{index}")
            assert "100 or more attempts have long outrun" in await found(tasks, "warning")
            assert await _asked(tasks, server) == few


async def _asked(tasks: TaskProcessor, server: Server) -> int:
    """How many commands the server was sent during an examination, those of scripts included."""
    before = _commands(server, ASKED)
    await tasks.examine()
    return _commands(server, ASKED) - before


def _commands(server: Server, names: Collection[str]) -> int:
    with server.client() as client:
        said: dict[str, dict[str, int]] = client.info("commandstats")
    counted = {name: about["calls"] for name, about in said.items()}
    return sum(calls for name, calls in counted.items() if name.removeprefix("cmdstat_") in names)


ASKED = {"zrangebyscore", "zcard", "zrange", "hget", "hmget", "scard", "sscan", "evalsha", "time"}
