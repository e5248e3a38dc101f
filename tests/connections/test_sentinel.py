"""Three Sentinels, a master and two replicas: failovers under load."""

import asyncio
from pathlib import Path

import pytest

from taskproc import TaskProcessor
from tests.connections.jobs import Ledger
from tests.connections.kit import Producer, Sent, assert_whole, batch_of, check_drained, settings_for, worker
from tests.kit import wait_until
from tests.kit.topologies import command, sentinel3

RESUMES_WITHIN = 10  # seconds
PATIENCE = 15  # seconds: longer than any failover


async def test_master_dies_under_load(tmp_path: Path) -> None:
    """Whatever was accepted before and after runs, soon, and the batch that was under way counts each task once."""
    ledger = Ledger(tmp_path / "ledger")
    with sentinel3(min_replicas_to_write=1) as watched:
        old = watched.master
        with worker(watched.url, ledger):
            async with TaskProcessor(settings_for(watched.url, command_timeout=PATIENCE)) as processor:
                batch_id = await batch_of(processor, range(1_000_000, 1_000_500))
                async with Producer(processor) as producer:
                    sent = producer.sent
                    await wait_until(lambda: len(ledger) > 50, 10, "work")
                    old.kill()
                    await _resumes(ledger, sent)
                await assert_whole(processor, batch_id, 500)
                await wait_until(lambda: ledger.has(sent.accepted), 10, "all that was accepted")
                assert not sent.refused
        check_drained(watched.await_other_master(old))


@pytest.mark.slow
async def test_failover_while_the_old_master_still_answers(tmp_path: Path) -> None:
    """Two masters for a moment: what reached all replicas before is kept, and everybody goes over to the new one."""
    ledger = Ledger(tmp_path / "ledger")
    with sentinel3(min_replicas_to_write=1) as watched:
        old = watched.master
        with worker(watched.url, ledger):
            one_connection = f"{watched.url}?max_connections=1"
            async with TaskProcessor(settings_for(one_connection, command_timeout=PATIENCE)) as processor:
                batch_id = await batch_of(processor, range(1_000_000, 1_000_500))
                async with Producer(processor, replicas=2) as producer:
                    sent = producer.sent
                    await wait_until(lambda: len(ledger) > 50 and len(sent.confirmed) > 20, 10, "work")
                    watched.fail_over()
                    producer.replicas = 0
                    new = await asyncio.to_thread(watched.await_other_master, old)
                    await _resumes(ledger, sent)
                await assert_whole(processor, batch_id, 500)
                late = set(sorted(sent.accepted)[-20:])
                await wait_until(lambda: ledger.has(sent.confirmed | late), 10, "all that was confirmed")
                assert not sent.refused
        check_drained(new)


@pytest.mark.slow
async def test_failover_that_loses_what_was_accepted(tmp_path: Path) -> None:
    """Replicas that heard nothing for a second take over: only what came in that second may be lost, nothing hangs."""
    ledger = Ledger(tmp_path / "ledger")
    with sentinel3() as watched:
        old, replicas = watched.master, watched.replicas
        with worker(watched.url, ledger):
            one_connection = f"{watched.url}?max_connections=1"
            async with TaskProcessor(settings_for(one_connection, command_timeout=PATIENCE)) as processor:
                batch_id = await batch_of(processor, range(1_000_000, 1_001_000))
                async with Producer(processor, replicas=2) as producer:
                    sent = producer.sent
                    await wait_until(lambda: len(ledger) > 50 and len(sent.confirmed) > 20, 10, "work")
                    producer.replicas = 0
                    for replica in replicas:
                        replica.freeze()
                    command(old, "CLIENT", "KILL", "TYPE", "replica")
                    kept, ran = set(sent.confirmed), len(ledger)
                    await wait_until(lambda: len(ledger) > ran + 100, 10, "work that will be lost")
                    old.kill()
                    for replica in replicas:
                        replica.thaw()
                    await _resumes(ledger, sent)
                await assert_whole(processor, batch_id, 1000)
                late = set(sorted(sent.accepted)[-20:])
                await wait_until(lambda: ledger.has(kept | late), 10, "all that was kept")
        assert len(ledger) > len(set(ledger.numbers)), "nothing ran twice: nothing was lost"
        check_drained(watched.await_other_master(old))


@pytest.mark.slow
async def test_failover_from_a_master_that_hangs(tmp_path: Path) -> None:
    """A master that answers nothing, on connections that stay open, holds nobody up for long."""
    ledger = Ledger(tmp_path / "ledger")
    with sentinel3(min_replicas_to_write=1) as watched:
        old = watched.master
        with worker(watched.url, ledger):
            async with TaskProcessor(settings_for(watched.url, command_timeout=PATIENCE)) as processor:
                batch_id = await batch_of(processor, range(1_000_000, 1_000_500))
                async with Producer(processor) as producer:
                    sent = producer.sent
                    await wait_until(lambda: len(ledger) > 50, 10, "work")
                    old.freeze()
                    await _resumes(ledger, sent)
                await assert_whole(processor, batch_id, 500)
                await wait_until(lambda: ledger.has(sent.accepted), 10, "all that was accepted")
                old.thaw()  # it takes itself for the master, until it is told
                async with Producer(processor, 500_000) as producer:
                    await _resumes(ledger, producer.sent)
                await wait_until(lambda: ledger.has(producer.sent.accepted), 10, "all that was accepted since")
        check_drained(watched.await_other_master(old))


async def _resumes(ledger: Ledger, sent: Sent) -> None:
    """Returns when tasks that were accepted after this moment have run."""
    before = set(sent.accepted)
    await wait_until(lambda: ledger.has_any(sent.accepted - before), RESUMES_WITHIN, "work after the failover")
    await wait_until(lambda: len(sent.accepted - before) > 50, 5, "new tasks")
