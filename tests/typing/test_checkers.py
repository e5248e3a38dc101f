"""mypy and pyright, strict: valid calls are accepted, and each mistake is found by both."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.processes import ROOT

HERE = Path(__file__).parent
_IGNORED = re.compile(r"  # type: ignore\[[\w, -]+\]$", re.MULTILINE)
_MYPY = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: ", re.MULTILINE)


def mypy(file: Path, cache: Path) -> set[int]:
    """The lines in which mypy finds an error."""
    arguments = ["mypy", "--no-pretty", "--show-absolute-path", "--cache-dir", str(cache), str(file)]
    done = _run(arguments)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {int(found["line"]) for found in _MYPY.finditer(done.stdout) if found["file"] == str(file)}


def pyright(file: Path) -> set[int]:
    """The lines in which pyright finds an error."""
    done = _run(["pyright", "--outputjson", "--pythonpath", sys.executable, str(file)])
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["file"] == str(file)}


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.slow
def test_every_mistake_is_found_by_both(tmp_path: Path) -> None:
    """The lines of `refused.py`, without the comments that allow them, are errors, and no other line is."""
    code = (HERE / "refused.py").read_text()
    mistakes = {number for number, line in enumerate(code.splitlines(), 1) if _IGNORED.search(line)}
    planted = tmp_path / "planted.py"
    planted.write_text(_IGNORED.sub("", code))
    shown = dict(enumerate(code.splitlines(), 1))
    assert len(mistakes) > 80
    for found in (mypy(planted, tmp_path / "cache"), pyright(planted)):
        assert [shown[line] for line in mistakes - found] == [], "not found"
        assert [shown[line] for line in found - mistakes] == [], "found, but right"


@pytest.mark.slow
def test_every_valid_call_is_accepted_by_both(tmp_path: Path) -> None:
    """`accepted.py` has no error, and no comment that would hide one."""
    code = (HERE / "accepted.py").read_text()
    assert "ignore" not in code
    valid = tmp_path / "valid.py"
    valid.write_text(code)
    assert mypy(valid, tmp_path / "cache") == set()
    assert pyright(valid) == set()
