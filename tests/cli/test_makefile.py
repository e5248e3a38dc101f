"""`make help`: all that make can do, in one column."""

import re
import subprocess

from tests.kit.processes import ROOT


def test_help_is_aligned_and_complete() -> None:
    """Each name with what it does, at the same place, however long it is; no variable is left unread."""
    shown = subprocess.run(["/usr/bin/make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if line.startswith("  make ")]
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in lines] == phony.split()
    begins = {match.end() for line in lines if (match := re.match(r"  make \S+\s{2,}", line))}
    assert len(begins) == 1, shown
    assert len([line for line in lines if re.match(r"  make \S+\s{2,}", line)]) == len(lines)
    assert "$(" not in shown
