"""The command `taskproc`. It needs the extra `cli`: `pip install "taskproc[cli]"`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    try:
        from taskproc.cli.app import app  # noqa: PLC0415 - what it needs may be missing
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "watchfiles"):
            raise
        sys.exit(f'The command line needs {error.name}, which is not installed: pip install "taskproc[cli]"')
    app()
