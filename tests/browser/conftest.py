"""One Chromium and one event loop for all tests of this folder: what talks to the browser lives as long as its loop."""

import asyncio
import inspect
import os
from collections.abc import Generator

import pytest
from playwright.async_api import Browser

from tests.browser.kit import chromium, chromium_path

_RUNNER = pytest.StashKey[asyncio.Runner]()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs an `async def` test in the loop of the browser."""
    runner = pyfuncitem.config.stash.get(_RUNNER, None)
    if runner is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    runner.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="package")
def browser(pytestconfig: pytest.Config) -> Generator[Browser]:
    """The browser. Without one the tests are skipped, but not in CI."""
    path = chromium_path()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium: install it (Debian: apt-get install chromium)")
        pytest.skip("there is no Chromium: install it, or say where it is: CHROMIUM=/path")
    with asyncio.Runner(debug=False) as runner:
        opened = chromium(path)
        pytestconfig.stash[_RUNNER] = runner
        yield runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))
        del pytestconfig.stash[_RUNNER]
