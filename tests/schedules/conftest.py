"""The clock of the session's server."""

import pytest
import redis

from tests.schedules.kit import Clock


@pytest.fixture
def clock(client: redis.Redis, prefix: str) -> Clock:
    """Makes schedules of the test fall due."""
    return Clock(client, prefix)
