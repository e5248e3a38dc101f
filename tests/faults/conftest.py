"""A journal for each test."""

from pathlib import Path

import pytest

from tests.faults.kit import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What the worker processes of the test note."""
    return Journal(tmp_path)
