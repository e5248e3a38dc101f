"""The processor's own threads."""

import asyncio
import contextvars
import queue
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from taskproc import threads as module
from taskproc.threads import Threads
from tests.kit import block_until, process, wait_until

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


def own_threads() -> set[threading.Thread]:
    """Those of pools that are alive."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("taskproc-")}


@pytest.fixture(autouse=True)
def _short_idle_time(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Threads end soon, and each test waits for its own."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    yield
    block_until(lambda: not own_threads(), 5, "the end of all threads")


async def test_results_and_errors_come_back() -> None:
    """What a function returns, or raises, whatever that is."""
    pool = Threads(2)

    def fail(error: BaseException) -> None:
        raise error

    assert await pool.submit(lambda: threading.current_thread().name) == "taskproc-1"
    for error in (ValueError("x"), asyncio.CancelledError("x"), KeyError(), ExceptionGroup("g", [ValueError()])):
        with pytest.raises(type(error)) as caught:
            await pool.submit(partial(fail, error))
        assert caught.value is error or isinstance(error, asyncio.CancelledError)


async def test_system_exit_ends_nothing() -> None:
    """SystemExit and KeyboardInterrupt are the task's: neither the thread nor the loop ends by them."""
    pool = Threads(1)

    def fail(error: BaseException) -> None:
        raise error

    for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        future = pool.submit(partial(fail, error))
        await asyncio.wait([future])
        assert future.exception() is error
    assert await pool.submit(lambda: 7) == 7


async def test_stop_iteration_arrives_as_a_runtime_error() -> None:
    """A future cannot carry it; the cause says what it was."""

    def stop() -> None:
        raise StopIteration(7)

    with pytest.raises(RuntimeError, match="the task raised StopIteration") as caught:
        await Threads(1).submit(stop)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert caught.value.__cause__.__traceback__ is not None


async def test_context_variables_reach_the_thread_and_stay_there() -> None:
    """A function sees those of its caller; what it sets is seen by nobody else, not even by the next one there."""
    pool = Threads(1)

    def look_and_set() -> str:
        seen = word.get()
        word.set("changed")
        return seen

    word.set("first")
    first = pool.submit(look_and_set)
    word.set("second")
    assert [await first, await pool.submit(look_and_set)] == ["first", "second"]
    assert word.get() == "second"
    assert await asyncio.create_task(_submit(pool, look_and_set), context=contextvars.Context()) == "none"


async def _submit(pool: Threads, function: Callable[[], Any]) -> Any:
    return await pool.submit(function)


async def test_no_more_threads_than_allowed() -> None:
    """More jobs than threads wait for their turn, in order, and all are done."""
    pool, running, most, order = Threads(3), 0, 0, list[int]()
    lock = threading.Lock()

    def job(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            order.append(number)
        time.sleep(0.002)
        with lock:
            running -= 1
        return number

    assert await asyncio.gather(*[pool.submit(partial(job, n)) for n in range(60)]) == list(range(60))
    assert most == 3
    assert all(abs(place - number) < 3 for place, number in enumerate(order))


async def test_one_after_the_other_needs_one_thread() -> None:
    """A thread that is free is used before another is started."""
    pool = Threads(10)
    for _ in range(50):
        await pool.submit(lambda: None)
    assert len(own_threads()) <= 2  # the thread may still be on its way back to the queue


class SlowQueue(queue.SimpleQueue[Any]):
    """A thread that takes a job from it is interrupted just then."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        job = super().get(block, timeout)
        time.sleep(0.05)
        return job


async def test_a_job_never_waits_for_a_busy_thread_while_another_may_start() -> None:
    """Not even when it is handed over at the very moment that a thread takes up a long one."""
    pool, go_on = Threads(2), threading.Event()
    pool._jobs = SlowQueue()
    await pool.submit(lambda: None)
    await asyncio.sleep(0.02)  # the thread is free again
    try:
        long = pool.submit(go_on.wait)
        await asyncio.sleep(0.01)
        assert await asyncio.wait_for(pool.submit(lambda: 7), 2) == 7
        assert not long.done()
    finally:
        go_on.set()


async def test_idle_threads_end_and_new_ones_start() -> None:
    """After the idle time none is left; the next job starts one, also when it comes at the moment of the end."""
    pool = Threads(3)
    await asyncio.gather(*[pool.submit(lambda: time.sleep(0.01)) for _ in range(3)])
    await wait_until(lambda: not own_threads(), 5, "the end of idle threads")
    for pause in (0.0, 0.04, 0.049, 0.05, 0.051, 0.06) * 5:
        await asyncio.sleep(pause)
        assert await asyncio.wait_for(pool.submit(lambda: 7), 2) == 7


class Big:
    pass


async def test_nothing_of_a_job_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread waits for the next, arguments and results of the last are free."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 1.5)
    keep: Callable[[Big], Big] = lambda held: held  # noqa: E731
    pool = Threads(1)
    argument = Big()
    gone = weakref.ref(argument)
    result = await pool.submit(partial(keep, argument))
    del argument, result
    await wait_until(lambda: gone() is None, 1, "the argument's end")


async def test_a_future_that_is_cancelled_lets_the_function_end() -> None:
    """Nobody waits any more; what comes of it is dropped, and the thread serves on."""
    pool = Threads(1)
    go_on = threading.Event()
    future = pool.submit(go_on.wait)
    future.cancel()
    go_on.set()
    assert await pool.submit(lambda: 7) == 7


def test_a_loop_that_has_ended_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that ends after its loop breaks nothing."""
    problems: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", problems.append)
    pool, go_on = Threads(1), threading.Event()

    async def leave() -> None:
        _ = pool.submit(go_on.wait)

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(_submit(pool, lambda: 7)) == 7, "the same thread serves another loop"
    assert problems == []


async def test_a_system_without_threads_left_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error reaches whoever submits, and the next job is not lost by it."""
    pool = Threads(2)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            _ = pool.submit(lambda: None)
    assert await pool.submit(lambda: 7) == 7


def test_a_function_that_does_not_end_keeps_no_process_alive() -> None:
    """The threads are daemons: the program ends when its main thread does."""
    code = """
        import asyncio, threading
        from taskproc.threads import Threads
        async def main():
            Threads(1).submit(threading.Event().wait)
            await asyncio.sleep(0.05)
            print("leaving")
        asyncio.run(main())
    """
    with process(code) as program:
        assert program.wait(10) == 0
        assert program.log == "leaving\n"
