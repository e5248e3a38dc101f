"""A cluster of three nodes: the owner of the slot is found, also after the slot has moved, under load."""

import asyncio
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from taskproc import ConfigurationError, StorageUnavailable, TaskProcessor
from tests.connections.jobs import Ledger, note
from tests.connections.kit import PREFIX, Producer, assert_whole, batch_of, check_drained, settings_for, worker
from tests.kit import Server, wait_until
from tests.kit.topologies import Cluster, cluster3, command

PATIENCE = 30  # seconds: longer than the slot is under way
SLOT = key_slot(PREFIX.encode())


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster]:
    """One cluster for all tests that leave it whole."""
    with cluster3() as started:
        yield started


def _keys_in_slot(node: Server) -> int:
    return int(command(node, "CLUSTER", "COUNTKEYSINSLOT", SLOT))


async def _move_under_load(
    cluster: Cluster, ledger: Ledger, move: Callable[[Server], object], worker_timeout: float = 10
) -> None:
    """3,000 tasks and more, of a producer and two batches, run once each by two workers while the slot moves."""
    source = cluster.owner(PREFIX)
    target = cluster.others(source)[0]
    patient = {"command_timeout": PATIENCE, "worker_timeout": worker_timeout}
    with worker(cluster.url, ledger, **patient), worker(cluster.url, ledger, **patient):
        async with TaskProcessor(settings_for(cluster.url, **patient)) as processor:
            before = await batch_of(processor, range(1_000_000, 1_002_000), 0.005)
            async with Producer(processor) as producer:
                await wait_until(lambda: len(ledger) > 100, 10, "work")
                await asyncio.to_thread(move, target)
                after = await batch_of(processor, range(2_000_000, 2_001_000))
                await wait_until(lambda: len(producer.sent.accepted) > 100, 10, "new tasks")
            await assert_whole(processor, before, 2000, 30)
            await assert_whole(processor, after, 1000, 30)
            await wait_until(lambda: ledger.has(producer.sent.accepted), 10, "all that was accepted")
    assert producer.sent.accepted == producer.sent.all
    assert sorted(ledger.numbers) == [
        *sorted(producer.sent.all),
        *range(1_000_000, 1_002_000),
        *range(2_000_000, 2_001_000),
    ]
    assert _keys_in_slot(source) == 0
    check_drained(target)


async def test_slot_moves_key_by_key_under_load(cluster: Cluster, tmp_path: Path) -> None:
    """Each of 3,000 tasks runs once while its slot moves to another node, key by key; nothing is left behind."""

    def move(target: Server) -> None:
        assert cluster.move(PREFIX, target, lambda _moved: time.sleep(0.0005)) > 1000

    await _move_under_load(cluster, Ledger(tmp_path / "ledger"), move)


@pytest.mark.slow
async def test_slot_moves_for_longer_than_workers_may_be_silent(cluster: Cluster, tmp_path: Path) -> None:
    """No worker is taken for dead because the slot was under way for longer than `worker_timeout`."""

    def move(target: Server) -> None:
        began = time.monotonic()
        cluster.move(PREFIX, target, lambda _moved: time.sleep(0.003))
        assert time.monotonic() - began > 4

    await _move_under_load(cluster, Ledger(tmp_path / "ledger"), move, worker_timeout=2)


@pytest.mark.slow
async def test_slot_moves_at_once_under_load(cluster: Cluster, tmp_path: Path) -> None:
    """The same with a server that moves whole slots by itself."""
    try:
        command(cluster.nodes[0], "CLUSTER", "GETSLOTMIGRATIONS")
    except ResponseError:
        pytest.skip("this server moves slots key by key only")
    await _move_under_load(cluster, Ledger(tmp_path / "ledger"), lambda target: cluster.move_at_once(PREFIX, target))


async def test_heartbeat_follows_the_slot(cluster: Cluster) -> None:
    """The heartbeat's thread, whose connection nothing else uses, goes over to the new owner by itself."""
    settings = settings_for(cluster.url, worker_timeout=1, base_frequency=60)
    async with TaskProcessor(settings) as processor:
        running = asyncio.create_task(processor.run())
        (registered,) = await wait_until(processor.get_workers, what="a worker")
        await wait_until(lambda: _lives_beyond(processor, registered.alive_until), what="a beat")
        cluster.move(PREFIX, cluster.others(cluster.owner(PREFIX))[0])
        later = datetime.now(UTC) + timedelta(seconds=2)
        await wait_until(lambda: _lives_beyond(processor, later), what="a beat on the new owner")
        await processor.stop()
        await running


async def _lives_beyond(processor: TaskProcessor, moment: datetime) -> bool:
    """Whether the worker counts as alive until some time after the moment."""
    return any(one.alive_until > moment for one in await processor.get_workers())


async def test_any_node_leads_to_the_owner(cluster: Cluster) -> None:
    """One node of the address is enough, and it need not own the slot."""
    owner = cluster.owner(PREFIX)
    for seed in cluster.others(owner):
        async with TaskProcessor(settings_for(cluster.address(seed))) as processor:
            task_id = await processor.enqueue(note, 1)
            assert _keys_in_slot(owner) > 0
            assert await processor.cancel_task(task_id)


async def test_dead_nodes_of_the_address_are_passed_over(cluster: Cluster) -> None:
    """The first node that answers says who owns the slot."""
    owner = cluster.owner(PREFIX)
    with Server() as gone:
        gone.kill()
        address = cluster.address(gone, *cluster.others(owner))
        async with TaskProcessor(settings_for(address)) as processor:
            assert await processor.get_queues()


async def test_slot_that_stays_under_way(cluster: Cluster) -> None:
    """A request that outlasts `command_timeout` was certainly not accepted, and goes through once the slot is whole."""
    owner = cluster.owner(PREFIX)
    target = cluster.others(owner)[0]
    async with TaskProcessor(settings_for(cluster.url, command_timeout=0.5)) as processor:
        command(owner, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", command(target, "CLUSTER", "MYID"))
        try:
            with pytest.raises(StorageUnavailable, match="TryAgainError") as refused:
                await processor.enqueue(note, 1)
        finally:
            command(owner, "CLUSTER", "SETSLOT", SLOT, "STABLE")
        assert not refused.value.maybe_accepted
        assert await processor.cancel_task(await processor.enqueue(note, 2))


async def test_node_of_a_cluster_as_single_server(cluster: Cluster) -> None:
    """A plain address of a node that lacks the slot is refused with a word on how to write it."""
    other = cluster.others(cluster.owner(PREFIX))[0]
    with pytest.raises(ConfigurationError, match=r"is a node of a cluster.*redis\+cluster://"):
        async with TaskProcessor(settings_for(other.url)):
            pass


async def test_server_without_cluster() -> None:
    """A cluster address of a single server is refused with a clear error."""
    with Server() as server:
        address = f"redis+cluster://127.0.0.1:{server.port}"
        with pytest.raises(StorageUnavailable, match=f"{server.port}.*cluster support disabled"):
            async with TaskProcessor(settings_for(address, command_timeout=0.3)):
                pass


async def test_owner_is_down() -> None:
    """The error names the cluster and the node that does not answer, and work goes on when it is back."""
    with cluster3(appendonly="yes", appendfsync="always", cluster_require_full_coverage="no") as cluster:
        owner = cluster.owner(PREFIX)
        async with TaskProcessor(settings_for(cluster.url, command_timeout=0.5)) as processor:
            task_id = await processor.enqueue(note, 1)
            owner.kill()
            with pytest.raises(StorageUnavailable, match=rf"redis\+cluster://.* {owner.port}"):
                await processor.enqueue(note, 2)
            owner.start()
            await wait_until(lambda: _found(processor, task_id), 15, "the owner of the slot")


async def _found(processor: TaskProcessor, task_id: str) -> bool:
    try:
        return await processor.get_task(task_id) is not None
    except StorageUnavailable:
        return False
