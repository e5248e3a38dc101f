"""`taskproc doctor`: what will lose or hold up tasks, as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskproc.cli.serving import load, processor_of
from taskproc.doctor import Finding, Level, worst
from taskproc.errors import TaskProcessorError
from taskproc.failure import message_of, visible
from taskproc.processor import TaskProcessor
from taskproc.settings import TaskProcessorSettings

__all__ = ["doctor"]

EXIT_CODES: dict[Level, int] = {"ok": 0, "advice": 0, "warning": 1, "error": 2}
COLOURS: dict[Level, str] = {"ok": "green", "advice": "blue", "warning": "yellow", "error": "bold red"}


def doctor(
    target: Annotated[str, typer.Argument(help="The FastAPI app, or TaskProcessor: module:name, as in myapp:app")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Looks for what will lose or hold up tasks. Ends with 1 when there is a warning, with 2 when there is an error."""
    sys.path.insert(0, str(Path.cwd()))
    findings = _findings(target)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    raise typer.Exit(EXIT_CODES[worst(findings)])


def _findings(target: str) -> list[Finding]:
    """What there is to say, with the settings of the target, which is not started; that there is none, too."""
    try:
        settings = processor_of(load(target)).settings
    except (TaskProcessorError, ValidationError) as error:
        return [Finding("error", "target", message_of(error))]
    except Exception as error:  # noqa: BLE001 - of the app's own code, whose author wants to see where
        traceback.print_exc()
        return [Finding("error", "target", f"{target} cannot be imported: {type(error).__name__}: {message_of(error)}")]
    return asyncio.run(_examined(settings))


async def _examined(settings: TaskProcessorSettings) -> list[Finding]:
    try:
        async with TaskProcessor(settings) as processor:
            return await processor.examine()
    except TaskProcessorError as error:
        return [Finding("error", "connection", message_of(error))]


def _show(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        what = Text(visible(finding.what))
        if finding.remedy:
            what.append(f"\n→ {visible(finding.remedy)}", style="dim")
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), finding.about, what)
    Console().print(table)
