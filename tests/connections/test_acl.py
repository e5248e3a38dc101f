"""Users with few rights: those of the documentation can do all that they should, and a missing right is named."""

import asyncio
import inspect
import itertools
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import redis

from taskproc import ConfigurationError, ScheduleData, TaskData, TaskProcessor, TaskProcessorSettings, background
from taskproc.scripts import scripts
from tests.conftest import MakeSettings
from tests.faults.test_tenants import calls
from tests.kit import Server, acl, wait_until

NAMED = r"(?:call|call_many)\(\s*(?:\w+, )?'([A-Z]+)'"
BY_SCRIPTS = {word for one in scripts().values() for word in re.findall(NAMED, one.source)}
TRIED = set(re.findall(r"(?:\{ |try\()'([A-Z]+)'", scripts()["check_access"].source.partition("local none")[2]))
TRIED_OUTSIDE = {"BLPOP", "EVAL", "EVALSHA", "PING", "SUBSCRIBE"}
OF_LOOKS = {"LPOS", "SSCAN"}
QUEUES = ["default", "shared[fair]"]


@background
async def succeed(number: int = 0) -> None:
    """Does nothing."""


@background(retries=1)
async def fail() -> None:
    """Is dead at once."""
    raise ValueError("no")


def test_worker_tries_every_command() -> None:
    """A script that uses another command needs it in the try-out, and in the documentation."""
    assert BY_SCRIPTS | {"LPUSH", "RPUSH"} == TRIED
    assert acl.commands_of("worker") == TRIED | TRIED_OUTSIDE | OF_LOOKS


def test_roles_contain_each_other() -> None:
    """Who enqueues may look too, and who works may enqueue."""
    assert acl.commands_of("reader") < acl.commands_of("producer") < acl.commands_of("worker")


@asynccontextmanager
async def _as(
    role: acl.Role, settings: MakeSettings, client: redis.Redis, *more: str, without: str = ""
) -> AsyncGenerator[TaskProcessor]:
    """A processor under the test's prefix, as one of the documented users."""
    made = settings(queues=QUEUES, on_task_failed_delay=None)
    user = acl.create_user(client, role, made.prefix, *more, without=without)
    made.redis = acl.as_user(made.redis, user)
    async with TaskProcessor(made) as processor:
        yield processor


async def _produce(processor: TaskProcessor) -> list[str]:
    """All that changes something, but for what needs dead tasks; ids of three tasks that are left, the last fails."""
    batch = processor.batch(scope="big")
    async with batch as big:
        for number in range(600):
            big.enqueue(succeed, number)
        big.on(when="success").continue_with(succeed)
    assert await processor.append_batch(None, None, big.id, lambda more: more.enqueue(succeed))
    delayed = await processor.on(delay=timedelta(hours=1)).enqueue(succeed)
    assert await processor.cancel_task(await processor.enqueue_task(QUEUES[1], None, TaskData(topic="t", data=b"")))
    await processor.pause()
    await processor.pause(tenant="default", until=timedelta(hours=1))
    await processor.upsert_schedule(ScheduleData(id="s", cron="0 0 1 1 *"), succeed)
    assert await processor.pause_schedule("s")
    assert await processor.trigger_schedule("s")
    assert await processor.cancel_schedule("s")
    assert await processor.cancel_batch(big.id)
    assert await processor.cancel_task(delayed)
    await processor.resume()
    await processor.resume(tenant="default")
    await processor.record_act("resume", "*")
    fair = processor.on(QUEUES[1])
    return [await fair.enqueue(succeed), await processor.enqueue(succeed), await processor.enqueue(fail)]


LOOKS = [*sorted(name for name in calls() if name.startswith(("get_", "explain", "is_"))), "status", "examine"]
OPTIONS: dict[str, dict[str, object]] = {"get_stacks": {"anew": False}}
"""To ask a worker for its stacks is an act."""


async def _look(processor: TaskProcessor, ids: list[str]) -> None:
    """Everything that can be looked at, with each parameter that says of what."""
    batches = [batch.id for batch in await processor.get_batches("default")]
    known: dict[str, Sequence[object]] = {
        "task_id": ids, "batch_id": batches, "batch_ids": [batches], "queue": QUEUES, "name": QUEUES,
        "worker_id": [worker.id for worker in await processor.get_workers()] or ["unknown"],
        "span": [timedelta(hours=1)], "tenant": ["default"], "filter": ["tenant:default"],
    }  # fmt: skip
    for name in LOOKS:
        look = getattr(processor, name)
        parameters = inspect.signature(look).parameters.values()
        needed = [each.name for each in parameters if each.default is each.empty]
        optional = [each.name for each in parameters if each.name in known.keys() - set(needed)]
        for values in itertools.product(*(known[each] for each in needed)):
            given = dict(zip(needed, values, strict=True)) | OPTIONS.get(name, {})
            for options in ({}, *({each: known[each][0]} for each in optional if known[each])):
                found = await look(**given, **options)
                assert found or name != "explain"


async def _drain(processor: TaskProcessor, id_: str, operator: TaskProcessor) -> None:
    """Works until the task is dead, and somebody has asked what it does."""
    running = asyncio.create_task(processor.run())

    async def is_dead() -> bool:
        found = await processor.get_task(id_)
        return found is not None and found.state == "dead"

    await wait_until(is_dead)
    await _look(processor, [id_])
    (worker,) = await operator.get_workers()
    assert await operator.get_stacks(worker.id)
    assert await operator.drain_worker(worker.id)
    assert await operator.resume_worker(worker.id)
    await processor.stop()
    await running


async def test_each_role_can_do_what_it_should(settings: MakeSettings, client: redis.Redis) -> None:
    """The documented worker runs what the documented producer sends, while the documented reader looks."""
    async with (
        _as("producer", settings, client) as producer,
        _as("worker", settings, client) as worker,
        _as("reader", settings, client) as reader,
    ):
        ids = await _produce(producer)
        await _look(reader, ids)
        await _look(producer, ids)
        await _drain(worker, ids[-1], producer)
        await _look(reader, ids)
        assert await producer.retry_dead_tasks("default") == 1
        await _drain(worker, ids[-1], producer)
        assert await producer.discard_dead_tasks("default") == 1


async def test_memory_takes_more_rights(settings: MakeSettings, client: redis.Redis) -> None:
    """What a reader is told without them, and that the documented ones are enough."""
    async with (
        TaskProcessor(settings()),
        _as("reader", settings, client) as reader,
        _as("reader", settings, client, "+scan", "+memory|usage") as measuring,
    ):
        assert "may not look at keys" in (await reader.get_keyspace()).note
        found = await measuring.get_keyspace()
        assert (found.note, [bool(kind.memory) for kind in found.kinds]) == ("", [True])


async def test_reader_cannot_change_anything(settings: MakeSettings, client: redis.Redis) -> None:
    """What a reader must not do is refused with one clear error, and nothing has happened."""
    async with TaskProcessor(settings()), _as("reader", settings, client) as reader:
        for request in (reader.enqueue(succeed), reader.pause(), reader.run()):
            with pytest.raises(ConfigurationError, match=r"docs/connections\.md"):
                await request
        assert (await reader.get_queue("default")).length == 0


async def test_producer_cannot_work(settings: MakeSettings, client: redis.Redis) -> None:
    """A worker that lacks rights does not start; all commands that it lacks are named."""
    async with _as("producer", settings, client) as producer:
        with pytest.raises(ConfigurationError, match=r": expire, hlen, lpop, lpush, smembers\. Give it"):
            await producer.run()


@pytest.mark.parametrize("command", sorted(TRIED | TRIED_OUTSIDE))
async def test_worker_lacks_a_command(settings: MakeSettings, client: redis.Redis, command: str) -> None:
    """Without any one of the commands it does not start, and the error names it; nothing is left behind."""
    client.script_flush()
    async with TaskProcessor(settings()):
        pass
    with pytest.raises(ConfigurationError, match=rf"\b{command.lower()}\b|run this command|run scripts"):
        async with _as("worker", settings, client, without=command) as worker:
            await worker.run()


@pytest.mark.parametrize(
    "rules", [("resetkeys", "~{other}:*"), ("resetchannels", "&{other}:*")], ids=["keys", "channels"]
)
async def test_worker_lacks_keys_or_channels(
    settings: MakeSettings, client: redis.Redis, rules: tuple[str, str]
) -> None:
    """Rights for another prefix are no use, and the error says what is meant."""
    with pytest.raises(ConfigurationError, match=r"keys|channels"):
        async with _as("worker", settings, client, *rules) as worker:
            await worker.run()


@pytest.mark.parametrize(
    "user, why",
    [
        (acl.login("nobody", "s3cret"), "refuses this user"),
        (acl.login("", "s3cret"), "refuses this user"),
        ("", "wants a password"),
    ],
    ids=["unknown user", "wrong password", "no password"],
)
async def test_login_fails(user: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """One error at once, that says what to do and never shows a password."""
    caplog.set_level(logging.DEBUG)
    with Server(requirepass="right") as server:
        address = f"redis://{user}@127.0.0.1:{server.port}/0"
        with pytest.raises(ConfigurationError, match=rf"redis://127\.0\.0\.1:{server.port}/0 {why}") as refused:
            async with TaskProcessor(TaskProcessorSettings(redis=address)):
                pass
    assert "s3cret" not in str(refused.value) + caplog.text
