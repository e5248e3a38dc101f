"""`taskproc worker`: runs tasks."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from taskproc.cli.output import FAILED
from taskproc.cli.serving import Overrides, load, serve
from taskproc.cli.target import told

__all__ = ["worker"]


class LogLevel(Enum):
    """What `--log-level` takes."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def worker(
    target: Annotated[str, typer.Argument(help="The FastAPI app, or TaskProcessor: module:name, as in myapp:app")],
    *,
    queues: Annotated[str | None, typer.Option(help="Serve these instead: high,default")] = None,
    max_workers: Annotated[int | None, typer.Option(min=1, help="Tasks at a time, instead of its setting")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start anew when a Python file here changes")] = False,
    log_level: Annotated[
        LogLevel | None, typer.Option(help="What is logged: info, unless the app has set up its own logging")
    ] = None,
) -> None:
    """Runs tasks of an app without serving HTTP, with the app's own settings, container and lifespan.

    SIGTERM or Ctrl-C ends it gracefully: running tasks may end within `shutdown_grace`, the rest is handed back. A
    second one ends it at once.
    """
    overrides = Overrides(queues=queues, max_workers=max_workers)
    if reload:
        import watchfiles  # noqa: PLC0415 - no other command needs it

        watchfiles.run_process(
            Path.cwd(), target=_work, args=(target, overrides, log_level), watch_filter=watchfiles.PythonFilter()
        )
    else:
        _work(target, overrides, log_level)


def _work(target: str, overrides: Overrides, log_level: LogLevel | None) -> None:
    sys.path.insert(0, str(Path.cwd()))
    with told(FAILED):
        app = load(target)
        _log(log_level)
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            runner.run(serve(app, overrides))


def _log(level: LogLevel | None) -> None:
    """Logs to stderr, unless the app, which has been imported, logs its own way already."""
    if level is not None:
        ours = {"taskproc": {"level": level.value.upper()}}
        logging.config.dictConfig({"version": 1, "incremental": True, "loggers": ours})
    logging.basicConfig(
        level=(level or LogLevel.INFO).value.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop
