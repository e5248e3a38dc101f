"""What the README shows, runs.

Its Python blocks are run in order, in one module, with a processor and a worker on the test's server (see
`snippets.py`). A block with a `title` is a program, and is started as one.
"""

import re
import sys
import types
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import MakeSettings
from tests.examples.programs import script, uvicorn
from tests.examples.settings_table import check_settings
from tests.examples.snippets import BLOCK, blocks, given, run
from tests.kit import block_until, process
from tests.kit.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<heading>[^)]+))?\)")


def program(title: str) -> str:
    """The program of that title."""
    [code] = [block.code for block in blocks(README) if block.title == title]
    return code


async def test_the_pieces_run_in_order(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece does what the text around it says."""
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with AsyncExitStack() as stack:
        module.__dict__.update(given(settings, stack))
        for block in blocks(README):
            if block.language == "python" and block.title is None:
                await run(block, module.__dict__, "README.md")


def test_the_app_runs_as_it_is_told_to(tmp_path: Path) -> None:
    """`uvicorn app:app --workers 2` and the request print what the text says; the app is examples/quickstart."""
    code = program("app.py")
    assert code == (ROOT / "examples/quickstart/app.py").read_text(encoding="utf-8")
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    with uvicorn("app:app", tmp_path, workers=2) as site:
        assert site.client.post("/signup?email=bob@example.com").json()["task"]
        site.wait_for_output("connected\nto bob@example.com: Welcome!\nclosed\n")


def test_an_app_may_run_its_tasks_in_another_program(tmp_path: Path) -> None:
    """With TASKPROC_USE_HOSTED_SERVICE=false the app only enqueues; `taskproc worker app:app` runs what it enqueued."""
    (tmp_path / "app.py").write_text(program("app.py"), encoding="utf-8")
    code = f"import os, sys; os.chdir({str(tmp_path)!r}); from taskproc.cli import main; main()"
    with uvicorn("app:app", tmp_path, env={"TASKPROC_USE_HOSTED_SERVICE": "false"}) as site:
        site.client.post("/signup?email=bob@example.com").raise_for_status()
        with process(["-c", code, "worker", "app:app"]) as worker:
            block_until(lambda: "to bob@example.com: Welcome!" in worker.log, 20, "the mail")
            assert worker.terminate() == 0
        assert "Welcome!" not in site.process.log


def test_the_program_without_fastapi_runs(tmp_path: Path) -> None:
    """It runs what it has enqueued, until Ctrl-C."""
    file = tmp_path / "script.py"
    file.write_text(program("script.py"), encoding="utf-8")
    with script(file, tmp_path) as started:
        block_until(lambda: "a.png is small now" in started.log, 20, "the task")
        started.interrupt()


def test_the_table_has_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is told with its environment variable and its default, as one would write it there."""
    check_settings(README, monkeypatch, left_out=set())


def test_links_lead_somewhere() -> None:
    """Files and headings that the README links to are there."""
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in _headings()}
    links = list(LINK.finditer(README))
    assert links
    for link in links:
        assert (ROOT / link["path"]).exists(), link[0]
        assert link["heading"] is None or link["heading"] in headings, link[0]


def _headings() -> list[str]:
    return [line for line in BLOCK.sub("", README).splitlines() if line.startswith("#")]
