"""Commands on the data of a test."""

from collections.abc import Generator

import pytest
import redis

from tests.cli.commands import Commands
from tests.conftest import MakeSettings


@pytest.fixture
def cli(settings: MakeSettings, client: redis.Redis) -> Generator[Commands]:
    """Runs commands on what the test's settings name; the list of acts, which stays, is removed at the end."""
    made = settings()
    yield Commands({"TASKPROC_REDIS": made.redis, "TASKPROC_PREFIX": made.prefix})
    client.unlink(f"{made.prefix}:audit")
