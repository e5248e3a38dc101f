"""Log records say which task they are about."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from taskproc import TaskLogFilter, current_task
from tests.conftest import MakeSettings
from tests.worker.kit import Jobs, died, ended, working

FIELDS = ("task_id", "batch_id", "tenant", "queue", "call")


class Talk(Jobs):
    async def talk(self) -> None:
        logging.getLogger("app").warning("in the loop")

    def talk_in_thread(self) -> None:
        logging.getLogger("app").warning("in a thread", extra={"queue": "mine"})

    async def hand(self) -> None:
        logging.getLogger("app").warning("by hand", extra=current_task().log_fields)


class Kept(logging.Handler):
    """Keeps what it is given, with the fields that the filter adds."""

    def __init__(self, *, filtered: bool) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        if filtered:
            self.addFilter(TaskLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def fields(self, message: str) -> list[object]:
        (found,) = [record for record in self.records if message in record.getMessage()]
        return [getattr(found, name, "missing") for name in FIELDS]


@contextmanager
def keeping(*, filtered: bool) -> Generator[Kept]:
    """A handler on the root logger while the block runs."""
    handler = Kept(filtered=filtered)
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)


async def test_records_of_tasks(settings: MakeSettings) -> None:
    """In the loop and in threads; what the caller says by itself stays; outside of tasks the fields are None."""
    talk = Talk()
    with keeping(filtered=True) as kept:
        logging.getLogger("app").warning("outside")
        async with working(settings(), talk) as tasks:
            async with tasks.batch("default", tenant="acme") as batch:
                batch.enqueue(talk.talk)
                batch.enqueue(talk.talk_in_thread)
            await ended(tasks, batch.id)
    call = f"{__name__}:Talk"
    assert kept.fields("in the loop") == [f"{batch.id}.0.0", batch.id, "acme", "default", f"{call}.talk"]
    assert kept.fields("in a thread") == [f"{batch.id}.0.1", batch.id, "acme", "mine", f"{call}.talk_in_thread"]
    assert kept.fields("outside") == [None] * 5


async def test_records_of_taskproc(settings: MakeSettings) -> None:
    """Those about a task have the fields without the filter, and so has what uses `log_fields`."""
    talk = Talk()
    with keeping(filtered=False) as kept:
        async with working(settings(), talk) as tasks:
            failing = await tasks.on(tenant="acme", retries=1).enqueue(talk.fail, "no")
            await died(tasks, failing)
            by_hand = await tasks.enqueue(talk.hand)
            await tasks.enqueue(talk.note, "end")
            await talk.noted("end")
            await tasks.discard_dead_tasks("default")
    call = f"{__name__}:Talk"
    assert kept.fields("failed for the last time") == [failing, None, "acme", "default", f"{call}.fail"]
    assert kept.fields("by hand") == [by_hand, None, "default", "default", f"{call}.hand"]
