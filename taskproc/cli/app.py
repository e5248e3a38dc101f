"""What the command line offers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from taskproc.cli.audit import list_acts
from taskproc.cli.batches import batches
from taskproc.cli.commands import command
from taskproc.cli.dead import dead
from taskproc.cli.doctor import doctor
from taskproc.cli.embedded import run_embedded
from taskproc.cli.overview import show_status
from taskproc.cli.pauses import list_pauses, pause, resume
from taskproc.cli.queues import queues
from taskproc.cli.schedules import schedules
from taskproc.cli.tasks import tasks
from taskproc.cli.tenants import list_tenants
from taskproc.cli.watch import watch
from taskproc.cli.worker import worker
from taskproc.cli.workers import workers

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's way
    if wanted:
        typer.echo(f"taskproc {version('taskproc')}")
        raise typer.Exit


@app.callback()
def taskproc(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Background tasks on Redis or Valkey."""


RUN, GLANCE, EACH, STOP = "Run", "At a glance", "One by one", "Stop and go on"

app.command(rich_help_panel=RUN)(worker)
app.command(rich_help_panel=RUN)(doctor)
app.command("embedded", rich_help_panel=RUN)(run_embedded)
command(app, "status", panel=GLANCE)(show_status)
command(app, "watch", panel=GLANCE)(watch)
command(app, "tenants", panel=GLANCE)(list_tenants)
command(app, "audit", panel=GLANCE)(list_acts)
app.add_typer(queues, name="queues", rich_help_panel=EACH)
app.add_typer(batches, name="batches", rich_help_panel=EACH)
app.add_typer(tasks, name="tasks", rich_help_panel=EACH)
app.add_typer(dead, name="dead", rich_help_panel=EACH)
app.add_typer(schedules, name="schedules", rich_help_panel=EACH)
app.add_typer(workers, name="workers", rich_help_panel=EACH)
command(app, "pause", panel=STOP)(pause)
command(app, "resume", panel=STOP)(resume)
command(app, "pauses", panel=STOP)(list_pauses)
