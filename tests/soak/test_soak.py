"""Less than a minute of everything at once: then the books must balance. `make soak` is ten, of each kind of server.

Its environment says what is run: SOAK_SECONDS in all; SOAK_MODE, only one of the modes; SEED, to repeat one; SOAK_OLD,
a git revision that every second process runs instead of this one.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import get_args

import pytest

from tests.kit.leaks import assert_no_leaks
from tests.soak import history
from tests.soak.chaos import SETTLED, WORKER_TIMEOUT, Chaos
from tests.soak.checker import check
from tests.soak.plan import Mode, plan
from tests.soak.revision import unpack
from tests.soak.site import PREFIX, site
from tests.soak.verdict import Verdict

SHARES: dict[Mode, float] = {"durable": 0.3, "rewinds": 0.25, "failover": 0.25, "cluster": 0.2}
"""Of the time, when all modes are run in turn."""
SECONDS = os.environ.get("SOAK_SECONDS")
MODE = os.environ.get("SOAK_MODE")
SEED = int(os.environ.get("SEED") or random.randrange(2**32))
OLD = os.environ.get("SOAK_OLD")


def lengths() -> dict[Mode, float]:
    """How long each mode is run, seconds."""
    seconds = float(SECONDS or 40)
    if MODE and MODE not in SHARES:
        raise pytest.UsageError(f"SOAK_MODE={MODE}: there are {', '.join(get_args(Mode))}")
    if SECONDS and not MODE:
        return {mode: seconds * share for mode, share in SHARES.items()}
    return {mode: seconds for mode in SHARES if mode == (MODE or "durable")}


@pytest.mark.timeout(0)  # it has one of its own
@pytest.mark.parametrize("mode", lengths())
async def test_whatever_happens_the_books_balance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: Mode
) -> None:
    """Nothing is lost but what the server forgot, nothing runs that should not, each repetition has its reason, each
    batch counts right and is continued once, each cycle runs once, and nothing is left over.
    """
    seconds = lengths()[mode]
    said = f"SEED={SEED} MODE={mode} SECONDS={seconds:g}" + (f" SOAK_OLD={OLD}" if OLD else "")
    with site(mode) as place:
        chaos = Chaos(place, tmp_path / "history", SEED, seconds, plan(SEED, seconds, mode))
        chaos.old = unpack(OLD, tmp_path) if OLD else None
        try:
            async with asyncio.timeout(seconds * 2 + SETTLED * 2):
                await chaos.run()
        except BaseException as error:
            error.add_note(f"{said}; history in {chaos.directory}\n{_verdict(chaos)}")
            raise
        verdict = _verdict(chaos)
        with capsys.disabled():
            print(f"\n{said}\n{verdict}")  # noqa: T201 - whoever waits for so long wants to see it
        assert verdict.wrong == [], f"{said}; history in {chaos.directory}"
        assert min(verdict.attempts.total(), verdict.looked_at["accepted tasks"]) > seconds
        assert all(verdict.looked_at[what] for what in ("appended parts", "batches that ran again", "tasks mended"))
        assert len(verdict.attempts) == (2 if OLD else 1)
        assert not [log for log in chaos.printed if "Traceback" in log]
        with place.client() as client:
            assert_no_leaks(client, PREFIX)


def _verdict(chaos: Chaos) -> Verdict:
    return check(history.read(chaos.directory), WORKER_TIMEOUT)
