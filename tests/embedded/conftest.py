"""A directory for each test."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.embedded.users import GONE_LIMIT, alive
from tests.kit.waiting import block_until


@pytest.fixture
def directory() -> Generator[Path]:
    """A directory for the server, with a short name and not yet there."""
    with tempfile.TemporaryDirectory(prefix="tp-") as temporary:
        directory = Path(temporary).resolve() / "data"
        yield directory
        block_until(lambda: not alive(directory), GONE_LIMIT)
