"""The command `taskproc`. It needs the extra `cli`: `pip install "taskproc[cli]"`."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what the terminal's encoding lacks is no reason to fail
    try:
        from taskproc.cli.app import app  # noqa: PLC0415 - what it needs may be missing

        app()
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "watchfiles"):
            raise
        sys.exit(f'The command line needs {error.name}, which is not installed: pip install "taskproc[cli]"')
    except KeyboardInterrupt:
        sys.exit(130)
