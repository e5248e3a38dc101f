"""What the command line offers."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
import watchfiles
from pydantic import ValidationError

from taskproc.cli.serving import Overrides, examined, load, serve
from taskproc.doctor import worst
from taskproc.errors import TaskProcessorError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Background tasks on Redis or Valkey.", pretty_exceptions_enable=False)


class LogLevel(Enum):
    """What `--log-level` takes."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.callback()
def taskproc() -> None:
    """Background tasks on Redis or Valkey."""


@app.command()
def worker(
    target: Annotated[str, typer.Argument(help="The FastAPI app, or TaskProcessor: module:name, as in myapp:app")],
    *,
    queues: Annotated[str | None, typer.Option(help="Serve these instead: high,default")] = None,
    max_workers: Annotated[int | None, typer.Option(min=1, help="Tasks at a time, instead of its setting")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start anew when a Python file here changes")] = False,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged")] = LogLevel.INFO,
) -> None:
    """Runs tasks of an app without serving HTTP, with the app's own settings, container and lifespan.

    SIGTERM or Ctrl-C ends it gracefully: running tasks may end within `shutdown_grace`, the rest is handed back. A
    second one ends it at once.
    """
    overrides = Overrides(queues=queues, max_workers=max_workers)
    if reload:
        watchfiles.run_process(
            Path.cwd(), target=_work, args=(target, overrides, log_level), watch_filter=watchfiles.PythonFilter()
        )
    else:
        _work(target, overrides, log_level)


@app.command()
def doctor(
    target: Annotated[str, typer.Argument(help="The FastAPI app, or TaskProcessor: module:name, as in myapp:app")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Looks for what will lose or hold up tasks. Ends with 1 when there is a warning, with 2 when there is an error."""
    sys.path.insert(0, str(Path.cwd()))
    with _told():
        findings = asyncio.run(examined(load(target)))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.secho(f"{finding.level:8}{finding}", fg=COLOURS[finding.level])
    raise typer.Exit({"warning": 1, "error": 2}.get(worst(findings), 0))


COLOURS = {"ok": "green", "advice": "blue", "warning": "yellow", "error": "red"}


@contextmanager
def _told() -> Generator[None]:
    """An error of the user's becomes one line, and the exit code 1."""
    try:
        yield
    except (TaskProcessorError, ValidationError) as error:
        typer.secho(f"taskproc: {error}", err=True, fg="red")
        raise typer.Exit(1) from error


def _work(target: str, overrides: Overrides, log_level: LogLevel) -> None:
    logging.basicConfig(level=log_level.value.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.path.insert(0, str(Path.cwd()))
    with _told(), asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(serve(load(target), overrides))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop
