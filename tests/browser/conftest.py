"""One Chromium for all tests of this folder."""

import os
from collections.abc import Generator

import pytest

from tests.browser.kit import chromium, chromium_path


@pytest.fixture(scope="session")
def browser_url() -> Generator[str]:
    """Where the browser listens. Without one the tests are skipped, but not in CI."""
    path = chromium_path()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium: install it (Debian: apt-get install chromium)")
        pytest.skip("there is no Chromium: install it, or say where it is: CHROMIUM=/path")
    with chromium(path) as url:
        yield url
