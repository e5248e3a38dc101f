"""Faults that come rarely: a rescuer that dies too, two workers that look alike, many cancels at once, huge records."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from taskproc import InvalidName, TaskData, TaskInfo, TaskProcessor
from taskproc.heartbeat import MOST_CANCELS
from tests.conftest import MakeSettings
from tests.faults import jobs
from tests.faults.kit import SECOND, Journal, environment, lease, worker, workers
from tests.kit import Proxy, Server, process, wait_until
from tests.storage.laws import broken_laws
from tests.storage.store import Store
from tests.worker.kit import Jobs, ended, gone, processor_of, running

HOUR = timedelta(hours=1)
TWELVE = 12_000_000  # bytes


async def test_a_rescuer_that_is_killed_at_its_work(
    settings: MakeSettings, server: Server, client: redis.Redis, prefix: str, journal: Journal
) -> None:
    """Twice in the middle of a take-back: each task is with its dead worker or back, and the next one goes on."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR, retries=1)
    store = Store(client, prefix)
    left = [2_000]

    def is_at_work() -> bool:
        left.append(client.scard(store.keys.worker_tasks("dead")))
        return left[-1] < left[0]

    async with TaskProcessor(made) as tasks:
        async with tasks.batch("elsewhere") as batch:
            for number in range(2_000):
                batch.enqueue(jobs.run, str(number))
        await lease(made, "dead", "elsewhere", 2_000)
        with Proxy(server.port) as proxy:
            proxy.delay(50)
            for _ in range(2):
                with worker(made.model_copy(update={"redis": proxy.url}), journal) as rescuer:
                    await wait_until(is_at_work, 20, f"fewer than {left[0]}")
                    rescuer.kill()
                left = left[-1:]
                assert left[0] > 0
                assert broken_laws(store.dump()) == []
        with worker(made.model_copy(update={"queues": ["elsewhere"]}), journal) as last:
            outcome = await ended(tasks, batch.id, 30)
            await workers(tasks, 1)
            last.terminate()
    assert (outcome.done, outcome.total) == (2_000, 2_000)
    assert journal.count("run:1") == {str(number): 1 for number in range(2_000)}


ALIKE = """
    import asyncio, os, socket
    os.getpid = lambda: 1
    socket.gethostname = lambda: "box"
    from tests.faults import jobs
    asyncio.run(jobs.work())
"""


async def test_two_workers_of_one_host_name_and_pid(settings: MakeSettings, journal: Journal) -> None:
    """As in containers: one is killed, its tasks and none of the other's run again."""
    made = settings(worker_timeout=SECOND, invisibility=HOUR, retries=1, max_workers=5)
    variables = environment(made) | {jobs.JOURNAL: str(journal.path)}
    async with TaskProcessor(made) as tasks:
        with process(ALIKE, variables) as first:
            async with tasks.batch() as batch:
                for number in range(5):
                    batch.enqueue(jobs.wait, f"first{number}")
            await journal.noted("begins", 5)
            with process(ALIKE, variables) as second:
                await workers(tasks, 2)
                async with tasks.batch() as more:
                    for number in range(5):
                        more.enqueue(jobs.wait, f"second{number}")
                await journal.noted("begins", 10)
                known = await tasks.get_workers()
                assert {(one.host, one.pid) for one in known} == {("box", 1)}
                assert [len(await tasks.get_tasks_of_worker(one.id)) for one in known] == [5, 5]
                first.kill()
                await workers(tasks, 1)
                [left] = await tasks.get_workers()
                assert {task.batch_id for task in await tasks.get_tasks_of_worker(left.id)} == {more.id}
                journal.let_go()
                outcomes = [await ended(tasks, one.id, 15) for one in (batch, more)]
                second.terminate()
    assert [(one.done, one.total) for one in outcomes] == [(5, 5), (5, 5)]
    assert journal.count("begins") == {f"first{n}": 2 for n in range(5)} | {f"second{n}": 1 for n in range(5)}
    assert journal.count("cancelled") == {}


async def test_more_cancels_under_way_than_a_heartbeat_tells_of(settings: MakeSettings, server: Server) -> None:
    """No message came, and what was canceled before and after is not ended by its worker: all ends here by a beat."""
    service, many = Jobs(), MOST_CANCELS + 100
    made = settings(worker_timeout=2 * SECOND, max_workers=100)
    with Proxy(server.port) as proxy:
        through = made.model_copy(update={"redis": proxy.url})
        async with TaskProcessor(made) as other, processor_of(through, service) as tasks:
            theirs = [await other.on("elsewhere").enqueue(jobs.run, str(number)) for number in range(2 * many)]
            await lease(made, "slow", "elsewhere", 2 * many, lives_for=HOUR)
            async with running(tasks):
                ours = [await tasks.enqueue(service.wait, str(number)) for number in range(100)]
                await service.noted(*(f"{number} begins" for number in range(100)))
                proxy.drop_messages()
                proxy.blackhole()
                for id_ in (*theirs[:many], *ours, *theirs[many:]):
                    assert await other.cancel_task(id_)
                proxy.heal()
                await wait_until(lambda: sum(word.endswith("cancelled") for word in service.notes) == 100, 3)
            await other._opened().storage.leave("slow")


HUGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "an argument": ("d", lambda data: data.replace(b"@", b"x" * TWELVE)),
    "what is no JSON": ("d", lambda _: b"\xff" * TWELVE),
    "lists in lists": ("d", lambda _: b"[" * (TWELVE // 2) + b"]" * (TWELVE // 2)),
    "a number": ("d", lambda _: b"[[" + b"9" * TWELVE + b"],{}]"),
    "a method's name": ("c", lambda call: call * (TWELVE // len(call))),
    "a topic": ("p", lambda _: b"t" * TWELVE),
    "earlier attempts": ("a", lambda _: b"\x00" * TWELVE),
}
"""Fields of a record, and what somebody makes of them."""
RUNS = {"an argument", "earlier attempts"}


@pytest.mark.parametrize("what", HUGE)
async def test_a_record_of_twelve_megabytes(
    settings: MakeSettings, client: redis.Redis, prefix: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Put in by hand: it runs, or is a dead letter that can be looked at; what stands beside it is done meanwhile."""
    field, change = HUGE[what]
    service, queues = Jobs(), ["default", "other"]
    async with processor_of(settings(unknown_task_grace=0, queues=queues, max_workers=4), service) as tasks:
        before = await beside(tasks, service)
        huge = await tasks.enqueue(service.note, "@")
        after = await beside(tasks, service)
        key = f"{prefix}:task:{huge}"
        client.hset(key, field, change(cast("bytes", client.hget(key, field) or b"")))
        async with running(tasks):
            for id_ in (*before, *after):
                await gone(tasks, id_)
            dead = await end_of(tasks, huge)
            shown = [task == dead for task in await tasks.get_dead_tasks("default")]  # a diff would take for ever
            assert shown == ([True] if dead else [])
            assert await tasks.discard_dead_tasks("default") == (dead is not None)
    ran = dead is None
    assert ran == (len(service.notes) == 201) == (what in RUNS)
    message = "" if dead is None else dead.error_message or ""
    assert bool(message) != ran
    assert len(message) < 3_000
    assert all(len(record.getMessage()) < 3_000 for record in caplog.records)
    assert service.notes.count("small") == 200


async def beside(tasks: TaskProcessor, service: Jobs) -> list[str]:
    """A hundred tasks in two queues."""
    return [await tasks.on(queue).enqueue(service.note, "small") for queue in ["default", "other"] * 50]


async def end_of(tasks: TaskProcessor, task_id: str) -> TaskInfo | None:
    """The task once it is dead, or None once it has ended otherwise."""

    async def look() -> bool:
        task = await tasks.get_task(task_id)
        return task is None or task.state == "dead"

    await wait_until(look, 10, f"the end of {task_id}")
    return await tasks.get_task(task_id)


REFUSED = r"^topic .* is not allowed: .* 1 to 500 printable"


class Topical:
    """An executor whose payloads are not those of this version."""

    def __init__(self, topic: str) -> None:
        self.topic = topic

    def serialize(self, *_: object) -> bytes:
        return b""

    async def invoke(self, *_: object) -> None:
        raise NotImplementedError


WRONG_TOPICS: dict[str, Any] = {
    "501 characters": "t" * 501,
    "12 MB": "t" * TWELVE,
    "a line break": "a\nb",
    "an escape": "a\x1b[2J",
    "half a character": "\ud800",
    "a number": 5,
}


@pytest.mark.parametrize("what", WRONG_TOPICS)
async def test_topics_that_are_refused(settings: MakeSettings, what: str) -> None:
    """Where they are said, with a message that can be printed; nothing is sent."""
    topic = WRONG_TOPICS[what]
    wrong = TaskData(topic, b"data")
    async with TaskProcessor(settings()) as tasks:
        with pytest.raises(InvalidName, match=REFUSED) as alone:
            await tasks.enqueue_task(None, None, wrong)
        with pytest.raises(InvalidName, match=REFUSED) as in_batch:
            await tasks.enqueue_batch(None, None, [TaskData("resize"), wrong])
        assert (await tasks.get_queue("default")).length == 0
    with pytest.raises(InvalidName, match=REFUSED):
        TaskProcessor(settings(), executor=Topical(topic))
    for error in (alone, in_batch):
        assert len(str(error.value)) < 400
        assert str(error.value).isprintable()


async def test_the_longest_topic(settings: MakeSettings) -> None:
    """It comes back as it was said."""
    async with TaskProcessor(settings()) as tasks:
        task_id = await tasks.enqueue_task(None, None, TaskData("ü" * 500))
        task = await tasks.get_task(task_id)
        assert task is not None
        assert task.topic == "ü" * 500
        await tasks.cancel_task(task_id)
