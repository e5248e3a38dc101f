"""Another revision of the package, beside this one."""

import subprocess
from pathlib import Path

from tests.kit.processes import ROOT


def unpack(revision: str, directory: Path) -> Path:
    """The folder in which the package is as it was; the folder's name is that of the revision."""
    folder = directory / revision.replace("/", "-")
    folder.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "taskproc"], check=True, capture_output=True)  # noqa: S607 - whichever git there is
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)  # noqa: S607
    return folder
