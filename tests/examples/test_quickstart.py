"""The small examples: an app of one screen, and a program without FastAPI."""

import signal
from pathlib import Path

import pytest

from tests.examples.programs import script, uvicorn
from tests.kit import block_until
from tests.kit.processes import ROOT


def test_the_quickstart_sends_its_mail_in_the_background(tmp_path: Path) -> None:
    """A signup is answered with the task's id; the task has a connection of its own, closed at its end."""
    with uvicorn("examples.quickstart.app:app", tmp_path) as site:
        answers = [site.client.post("/signup", params={"email": f"{name}@example.com"}) for name in ("bob", "eve")]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len({answer.json()["task"] for answer in answers}) == 2
        site.wait_for_output("closed", times=2)
        site.wait_for_output("to bob@example.com: Welcome!")
        site.wait_for_output("to eve@example.com: Welcome!")
        assert site.process.log.count("connected") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_script_runs_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    """A batch and its continuation run, and Ctrl-C or SIGTERM ends the program in an orderly way."""
    with script(ROOT / "examples/script.py", tmp_path) as started:
        block_until(lambda: "to bob@example.com: Your pictures are ready." in started.log, 20, "the continuation")
        assert started.log.count("1024 pixels wide, attempt 1") == 3
        assert (started.interrupt if number == signal.SIGINT else started.terminate)() == 0
        assert "Traceback" not in started.log
