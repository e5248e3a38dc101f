"""Every call that names something of a tenant takes the tenant, and then reaches nothing else."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import redis

from taskproc import ScheduleData, TaskData, TaskProcessor
from tests.conftest import MakeSettings
from tests.faults.kit import lease
from tests.kit import delete_keys
from tests.storage.store import Store
from tests.worker.kit import Jobs, ended, processor_of, running

HOUR = timedelta(hours=1)

OF_NO_TENANT = {
    "examine": "for operators: settings and the server",
    "status": "for operators: this process",
    "run": "this process",
    "stop": "this process",
    "ended": "this process",
    "in_thread": "this process: for a task that it runs",
    "enqueue": "of on(tenant=…), or the default one",
    "enqueue_with": "among its options",
    "upsert_schedule": "in ScheduleData",
    "get_queues": "for operators: get_queue(…, tenant=…) shows a tenant's part",
    "get_statistics": "for operators: counted by queue",
    "get_statistics_of_queues": "likewise",
    "get_keyspace": "for operators: memory",
    "get_workers": "for operators: workers serve all tenants",
    "get_tasks_of_worker": "for operators",
    "get_stacks": "for operators",
    "drain_worker": "for operators",
    "resume_worker": "for operators",
    "get_tenants": "for operators",
    "is_paused": "for operators: whether everything is",
    "get_pauses": "for operators",
    "get_audit": "for operators: what was done by hand",
}
"""Public coroutine methods without `tenant`, and why."""
OF_A_TENANT = {
    "pause": "pauses that tenant",
    "resume": "ends that pause",
    "enqueue_task": "enqueues for it",
    "enqueue_batch": "likewise",
    "record_act": "notes it",
}
"""Those to which `tenant` does not say what may be seen or changed."""


def test_every_call_takes_the_tenant() -> None:
    """But for those that are deliberately for operators, or of this process; each is named with its reason."""
    with_tenant = {name for name, method in calls().items() if "tenant" in inspect.signature(method).parameters}
    assert calls().keys() - with_tenant == OF_NO_TENANT.keys()
    assert OF_A_TENANT.keys() <= with_tenant


def calls() -> dict[str, Callable[..., Any]]:
    """Public coroutine methods by name."""
    members = inspect.getmembers(TaskProcessor, inspect.iscoroutinefunction)
    return {name: method for name, method in members if not name.startswith("_")}


async def test_no_call_reaches_into_another_tenant(settings: MakeSettings, client: redis.Redis, prefix: str) -> None:
    """With its ids and queues: one is told what one would be told if there were nothing, and nothing is changed."""
    store = Store(client, prefix)
    names = calls().keys() - OF_NO_TENANT.keys() - OF_A_TENANT.keys()
    looks = {name for name in names if name.startswith(("get_", "explain"))}
    async with processor_of(settings(retries=1), Jobs()) as tasks:
        given = await of_acme(tasks)
        before = store.dump()
        as_other = {name: await asked(tasks, name, given, "other") for name in names}
        assert store.dump() == before
        as_acme = {name: await asked(tasks, name, given, "acme") for name in looks}
        delete_keys(client, prefix)
        of_nothing = {name: await asked(tasks, name, given, "other") for name in names}
    assert as_other == of_nothing
    assert [name for name in looks if as_acme[name] == of_nothing[name]] == []


async def of_acme(tasks: TaskProcessor) -> list[dict[str, object]]:
    """What a tenant may have, of each kind; names of parameters, and what they would be."""
    service = Jobs()
    acme = tasks.on(tenant="acme")
    async with running(tasks):
        async with tasks.batch(tenant="acme") as first:
            first.enqueue(service.fail, "no")
        assert (await ended(tasks, first.id)).failed == 1
    await tasks.upsert_schedule(ScheduleData(id="s", cron="0 0 1 1 *", tenant="acme"), service.note, "cycle")
    ids = [await acme.enqueue(service.note, "leased")]
    await lease(tasks.settings, "w", "default", 1, lives_for=HOUR)
    ids += [
        await acme.enqueue(service.note, "ready"),
        await tasks.on(delay=HOUR, tenant="acme").enqueue(service.note, ""),
    ]
    async with tasks.batch(tenant="acme") as batch:
        batch.enqueue(service.note, "batched")
        batch.continue_with(service.note, "continuation")
    ids += [task.task_id for task in await tasks.get_dead_tasks("default") + await tasks.get_continuations(batch.id)]
    found = [await tasks.get_task(id_) for id_ in ids]
    assert [task and task.state for task in found] == ["leased", "ready", "delayed", "dead", "held"]
    queue: dict[str, object] = {"queue": "default", "name": "default", "schedule_id": "s", "id_": "s"}
    batches: list[dict[str, object]] = [
        {"batch_id": one.id, "batch_ids": [one.id], "build": [TaskData("resize")]} for one in (first, batch)
    ]
    tasks_: list[dict[str, object]] = [{"task_id": id_, "arguments": {"message": "yes"}} for id_ in ids]
    filtered = {**queue, "filter": "tenant:acme"}
    return [queue, filtered, {**queue, "task_ids": ids}, *({**queue, **one} for one in batches), *tasks_]


async def asked(tasks: TaskProcessor, name: str, given: list[dict[str, object]], tenant: str) -> list[object]:
    """What a method answers to the tenant, for each of `given` that says what it needs."""
    parameters = inspect.signature(getattr(tasks, name)).parameters
    needed = {one.name for one in parameters.values() if one.default is one.empty} - {"tenant"}
    fitting = [one for one in given if needed <= one.keys()]
    assert fitting, f"{name}: nothing is known for {needed}"
    return [
        await getattr(tasks, name)(**{key: one[key] for key in parameters.keys() & one.keys()}, tenant=tenant)
        for one in fitting
    ]
