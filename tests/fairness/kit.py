"""What the tests of fair queues share."""

from collections.abc import Iterator, Sequence

from taskproc import TaskInfo, TaskProcessor, current_task

FAIR = "work[fair]"


class Served:
    """Notes whose task was served, in the order of serving."""

    def __init__(self) -> None:
        self.order: list[tuple[str, str]] = []
        self.failing: set[str] = set()

    async def serve(self, word: str) -> None:
        self.order.append((current_task().tenant, word))
        if word in self.failing:
            self.failing.discard(word)
            raise ValueError(word)


def in_turn(counts: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Who is to be served when, if each tenant has so many tasks, by their order."""
    for number in range(max(counts.values())):
        for tenant, count in counts.items():
            if number < count:
                yield tenant, str(number)


async def fill(tasks: TaskProcessor, jobs: Served, counts: dict[str, int]) -> list[str]:
    """Enqueues so many tasks of each tenant, one tenant after the other, each as a batch; the ids of the batches."""
    ids: list[str] = []
    for tenant, count in counts.items():
        async with tasks.batch(FAIR, tenant=tenant) as batch:
            for number in range(count):
                batch.enqueue(jobs.serve, str(number))
        ids.append(batch.id)
    return ids


def tenants(tasks: Sequence[TaskInfo]) -> list[str]:
    """Whose tasks these are."""
    return [task.tenant for task in tasks]
