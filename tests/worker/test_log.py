"""What user code and Redis may put into a log: bounded, and never what could pass for another line of it."""

import asyncio
import logging
import time

import pytest

from taskproc import StorageUnavailable
from taskproc.failure import log_error, one_line
from taskproc.scopes import close_all
from taskproc.supervised import Duties
from tests.conftest import MakeSettings
from tests.kit import wait_until
from tests.worker.kit import processor_of, running

FORGED = "oh\n2030-01-01 00:00:00 CRITICAL root: all is lost\r\n\x1b[2Jgone\u2028\x85\x00"

logger = logging.getLogger("taskproc.test")


class ExplodingError(Exception):
    def __str__(self) -> str:
        raise SystemExit


def shown(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged, as a handler with a plain format writes it."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return "\n".join(form.format(record) for record in caplog.records)


def test_no_line_of_a_traceback_passes_for_another_entry(caplog: pytest.LogCaptureFixture) -> None:
    """Each is indented, without control characters; whoever wants the error itself finds it in the record."""
    with pytest.raises(ValueError, match="oh") as caught:
        raise ValueError(FORGED)
    log_error(logger, caught.value, "%s failed", "it")
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is caught.value
    first, *others = shown(caplog).split("\n")
    assert first.endswith("ERROR taskproc.test: it failed")
    assert all(line.startswith("  | ") and line.isprintable() for line in others)
    assert "  | ValueError: oh" in others
    assert "  | 2030-01-01 00:00:00 CRITICAL root: all is lost\\r" in others
    assert (record.funcName, record.module) == ("test_no_line_of_a_traceback_passes_for_another_entry", "test_log")


def _with_notes(*notes: object) -> ValueError:
    error = ValueError("x")
    vars(error)["__notes__"] = list(notes)
    return error


HUGE = [
    ValueError("x" * 100_000_000),
    ExplodingError(),
    ValueError("y\n" * 50_000_000),
    _with_notes("y\n" * 50_000_000),
    _with_notes(*["z"] * 1_000_000),
]


@pytest.mark.parametrize("error", HUGE, ids=["one line", "explodes", "lines", "a long note", "many notes"])
def test_a_traceback_is_bounded_whatever_the_error_is(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """One that is huge, and one that cannot be shown; the event loop is not held up for long."""
    begun = time.monotonic()
    log_error(logger, error, "it failed")
    assert time.monotonic() - begun < 2
    assert 20 < len(shown(caplog)) < 100_000


def test_nothing_is_made_of_an_error_that_nobody_wants(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that is turned down costs nothing."""
    logger.setLevel(logging.CRITICAL)
    try:
        log_error(logger, ExplodingError(), "it failed")
    finally:
        logger.setLevel(logging.NOTSET)
    assert caplog.records == []


@pytest.mark.parametrize("kind", [OSError, ValueError])
async def test_a_duty_that_fails_forges_no_line(caplog: pytest.LogCaptureFixture, kind: type[Exception]) -> None:
    """Neither with an error that is expected, nor with any other."""

    async def duty() -> None:
        raise kind(FORGED)

    duties = Duties({"duty": duty})
    await wait_until(lambda: caplog.records)
    await duties.end()
    first, *others = shown(caplog).split("\n")
    assert " duty" in first
    assert first.isprintable()
    assert all(line.startswith("  | ") and line.isprintable() for line in others)


async def test_duties_end_though_one_does_not_want_to() -> None:
    """A duty that swallows its cancel for a while is cancelled again; one that begins anew meanwhile is not left."""
    swallowed = 0

    async def duty() -> None:
        nonlocal swallowed
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed += 1
            if swallowed > 3:
                raise

    duties = Duties({"duty": duty, "other": duty})
    await asyncio.sleep(0)
    await duties.end()
    assert swallowed == 5
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await Duties({}).end()


async def test_a_scope_that_does_not_close_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """A service failed to close, in a task that was cancelled."""

    def fail(*_details: object) -> None:
        raise ValueError(FORGED)

    await close_all([fail], asyncio.CancelledError())
    first, *others = shown(caplog).split("\n")
    assert first.endswith(" ERROR taskproc.scopes: closing the scope of a cancelled task failed")
    assert [line for line in others if not line.startswith("  | ") or not line.isprintable()] == []
    assert any("CRITICAL root: all is lost" in line for line in others)


async def test_a_server_that_refuses_at_the_start_forges_no_line(
    settings: MakeSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reply stands in the error, and the worker tries again."""
    refusals = iter([StorageUnavailable(FORGED)])

    async def refuse_once(*_: object) -> None:
        for refusal in refusals:
            raise refusal

    monkeypatch.setattr("taskproc.processor.check_server", refuse_once)
    async with processor_of(settings()) as tasks, running(tasks):
        pass
    [line] = [record.getMessage() for record in caplog.records if record.name == "taskproc.processor"]
    assert line == r"oh\n2030-01-01 00:00:00 CRITICAL root: all is lost\r\n\x1b[2Jgone\u2028\x85\x00"


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    """Only what cannot be seen is spelled out."""
    assert one_line("Größe → 数\u202e\t") == r"Größe → 数\u202e\t"
