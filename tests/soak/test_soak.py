"""A minute of everything at once, or SOAK_SECONDS of it: then the books must balance. `make soak` is ten minutes."""

import os
import random
from pathlib import Path

import pytest

from tests.faults.kit import Journal
from tests.kit import Server
from tests.kit.leaks import assert_no_leaks
from tests.soak.chaos import Chaos
from tests.soak.checker import check

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SEED = int(os.environ.get("SEED") or random.randrange(2**32))


@pytest.mark.timeout(SECONDS + 120)
async def test_whatever_happens_the_books_balance(tmp_path: Path) -> None:
    """Nothing is lost, nothing runs that should not, each duplicate has its reason, and nothing is left over."""
    print(f"SEED={SEED}")  # noqa: T201
    with Server(appendonly="yes", appendfsync="always") as server:
        chaos = Chaos(server, Journal(tmp_path), SEED)
        faults = await chaos.run(SECONDS)
        verdict = check(chaos.history)
        print(f"{verdict.ran} runs; faults: {dict(faults)}; duplicates: {dict(verdict.duplicates)}")  # noqa: T201
        assert verdict.wrong == [], f"SEED={SEED}"
        with server.client() as client:
            assert_no_leaks(client, "{soak}")
