"""What users install is complete: the wheel and the source distribution as they would be published."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.kit.processes import ROOT

_PACKAGES = ("taskproc", "taskproc_fastapi")
_HELD_BACK = {"__pycache__", ".taskproc"}


def _build(target: str, folder: Path) -> Path:
    words = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


def _files(*folders: str) -> set[str]:
    found = {file.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()}
    return {str(file) for file in found if not _HELD_BACK & set(file.parts)}


def test_wheel_has_every_file_of_the_packages_and_no_other(tmp_path: Path) -> None:
    """Python, Lua, py.typed and whatever else lies in the packages is in the wheel, and nothing of the rest."""
    with zipfile.ZipFile(_build("wheel", tmp_path)) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licenses = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    assert names == _files(*_PACKAGES)
    assert {"taskproc/py.typed", "taskproc_fastapi/py.typed", "taskproc/lua/_prelude.lua"} <= names
    assert len(licenses) == 1


def test_source_distribution_has_what_tests_and_builds_need(tmp_path: Path) -> None:
    """Packages, tests and what make needs are in the source distribution."""
    with tarfile.open(_build("sdist", tmp_path)) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= _files(*_PACKAGES, "tests", "tools")
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".luacheckrc"}
