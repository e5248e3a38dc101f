"""Lints the Lua scripts as Redis gets them, the shared files in front of each, so that undefined names are found.

A complaint names the file and line where the code was written. What a shared file defines counts as unused only
when no script uses it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from taskproc.scripts import Script, scripts

_ROOT = Path(__file__).parents[1]
_FOLDER = Path("taskproc/lua")
_COMPLAINT = re.compile(r"(?P<script>[^:]+)\.lua:(?P<line>\d+):(?P<rest>.*)")
_UNUSED = "(W211)"


def main() -> int:
    """0 when there is nothing to complain about, else 1; what is wrong is printed."""
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        print(
            "luacheck is missing: `apt-get install lua-check`, `brew install luacheck` or `luarocks install luacheck`"
        )
        return 1
    complaints = Counter(_complaints(luacheck, scripts()))
    kept = [text for text, times in complaints.items() if not _is_used_elsewhere(text, times)]
    print("\n".join(kept) or f"luacheck: {len(scripts())} scripts, nothing to complain about")
    return 1 if kept else 0


def _complaints(luacheck: str, loaded: Mapping[str, Script]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for script in loaded.values():
            Path(folder, f"{script.name}.lua").write_text(script.source, "utf-8")
        options = ["--codes", "--formatter", "plain", "--no-cache", "--config", str(_ROOT / ".luacheckrc")]
        said = subprocess.run([luacheck, *options, "."], cwd=folder, capture_output=True, text=True, check=False)
    for line in said.stdout.splitlines():
        found = _COMPLAINT.fullmatch(line)
        if found is None:
            raise SystemExit(f"luacheck failed: {line}\n{said.stderr}")
        yield _where_written(Path(found["script"]).name, int(found["line"]), found["rest"])
    if said.returncode > 2:  # 1 and 2 are complaints
        raise SystemExit(f"luacheck failed: {said.stderr}")


def _where_written(script: str, line: int, rest: str) -> str:
    """A complaint about a joined script, as one about the file that the line came from."""
    for part in scripts()[script].shared:
        lines = (_ROOT / _FOLDER / f"{part}.lua").read_text("utf-8").count("\n") + 1  # the loader adds one
        if line <= lines:
            return f"{_FOLDER}/{part}.lua:{line}:{rest}"
        line -= lines
    return f"{_FOLDER}/{script}.lua:{line}:{rest}"


def _is_used_elsewhere(complaint: str, times: int) -> bool:
    return "/_" in complaint.partition(":")[0] and _UNUSED in complaint and times < len(scripts())


if __name__ == "__main__":
    sys.exit(main())
