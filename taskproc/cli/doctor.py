"""`taskproc doctor`: what will lose or hold up tasks, as a table or as JSON."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from taskproc.cli.commands import App, Json, Prefix, Redis
from taskproc.cli.output import MISUSED, Output, tell
from taskproc.cli.target import Target, refuse_absent, wrong_settings
from taskproc.doctor import Finding, Level, worst
from taskproc.errors import TaskProcessorError
from taskproc.failure import message_of, visible
from taskproc.processor import TaskProcessor
from taskproc.settings import TaskProcessorSettings

__all__ = ["doctor"]

EXIT_CODES: dict[Level, int] = {"ok": 0, "advice": 0, "warning": 1, "error": 2}
COLOURS: dict[Level, str] = {"ok": "green", "advice": "blue", "warning": "yellow", "error": "bold red"}


def doctor(
    target: Annotated[
        str | None, typer.Argument(help="As --app: the FastAPI app or TaskProcessor, module:name")
    ] = None,
    *,
    app: App = None,
    redis: Redis = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Looks for what will lose or hold up tasks. Ends with 1 when there is a warning, with 2 when there is an error."""
    if target is not None and app is not None:
        tell("name the app once: as TARGET, or with --app")
        raise typer.Exit(MISUSED)
    findings = _findings(Target(app=app or target, redis=redis, prefix=prefix))
    out = Output(as_json=as_json)
    if as_json:
        out.json(findings)
    else:
        out.print(_shown(findings))
    raise typer.Exit(EXIT_CODES[worst(findings)])


def _findings(target: Target) -> list[Finding]:
    """What there is to say, with the settings of the target, which is not started; that there is none, too."""
    try:
        settings = target.processor().settings
    except ValidationError as error:
        return [Finding("error", "target", wrong_settings(error))]
    except TaskProcessorError as error:
        return [Finding("error", "target", message_of(error))]
    except Exception as error:  # noqa: BLE001 - of the app's own code, whose author wants to see where
        traceback.print_exc()
        said = f"{target.app} cannot be imported: {type(error).__name__}: {message_of(error)}"
        return [Finding("error", "target", said)]
    return asyncio.run(_examined(settings))


async def _examined(settings: TaskProcessorSettings) -> list[Finding]:
    try:
        refuse_absent(settings)
        async with TaskProcessor(settings) as processor:
            return await processor.examine()
    except TaskProcessorError as error:
        return [Finding("error", "connection", message_of(error))]


def _shown(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        what = Text(visible(finding.what))
        if finding.remedy:
            what.append(f"\n→ {visible(finding.remedy)}", style="dim")
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), finding.about, what)
    return table
