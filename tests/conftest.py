"""Async tests, the server they run on, and the check that a test leaves no keys behind."""

import asyncio
import inspect
import os
import secrets
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest
import redis

from tests.kit import Server, acl, assert_no_leaks, delete_keys

if TYPE_CHECKING:
    from taskproc.settings import TaskProcessorSettings

_PASSED = pytest.StashKey[bool]()


class MakeSettings(Protocol):
    """`settings(max_workers=2)`: settings on the test's server and prefix, with what else is named."""

    def __call__(self, **overrides: Any) -> "TaskProcessorSettings": ...


def pytest_configure() -> None:
    """A developer's own settings have no part in the tests, and a busy machine is no reason to fail one."""
    for name in [name for name in os.environ if name.startswith("TASKPROC_") and not name.startswith("TASKPROC_TEST_")]:
        del os.environ[name]
    os.environ.pop("COLUMNS", None)  # set where tests run at the same time: what is printed into a pipe is not wrapped
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs an `async def` test in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(pyfuncitem.obj(**arguments), debug=False)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers whether the test has passed, for the check after it."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="session")
def server() -> Generator[Server]:
    """The server of this session; tests that stop or freeze one start their own."""
    with Server() as started:
        yield started


@pytest.fixture(scope="session")
def redis_url(server: Server, client: redis.Redis) -> str:
    """Where the session's server is; with TASKPROC_TEST_ACL=1 for a user who may do no more than the docs say."""
    return acl.as_user(server.url, acl.create_user(client, "worker", "{*}")) if acl.is_wanted() else server.url


@pytest.fixture(scope="session")
def client(server: Server) -> Generator[redis.Redis]:
    """A plain client of the session's server, to look at what is stored; it returns bytes."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def prefix(request: pytest.FixtureRequest, client: redis.Redis) -> Generator[str]:
    """A prefix of the test's own. What is left under it when the test has passed fails it, see `kit/leaks.py`."""
    unique = f"{{t-{secrets.token_hex(4)}}}"
    yield unique
    node: pytest.Item = request.node
    try:
        if node.stash.get(_PASSED, False) and not _leaves_keys(node):
            assert_no_leaks(client, unique)
    finally:
        delete_keys(client, unique)


@pytest.fixture
def settings(redis_url: str, prefix: str) -> MakeSettings:
    """Makes settings on the session's server under the test's prefix."""
    from taskproc.settings import TaskProcessorSettings  # tests of the kit run without the package

    return lambda **overrides: TaskProcessorSettings(redis=redis_url, prefix=prefix, **overrides)


def _leaves_keys(node: pytest.Item) -> bool:
    marker = node.get_closest_marker("leaves_keys")
    if marker and not marker.args:
        raise pytest.UsageError(f'{node.nodeid}: say why: @pytest.mark.leaves_keys("…")')
    return marker is not None
