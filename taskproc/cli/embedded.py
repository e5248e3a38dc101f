"""`taskproc embedded`: the development server, for as long as one wants it."""

from __future__ import annotations

import asyncio
import math
import shlex
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.text import Text

from taskproc.cli.live import ended_by_hand
from taskproc.cli.output import Output, fields
from taskproc.cli.target import at, told
from taskproc.embedded import Embedded, start
from taskproc.errors import ConfigurationError
from taskproc.failure import message_of, visible

__all__ = ["run_embedded"]

ANSWER = 5  # seconds


def run_embedded(
    path: Annotated[Path | None, typer.Argument(help="Its directory; ./.taskproc if it is left out")] = None,
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Listen on 127.0.0.1 too, without password")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Runs the development server of a directory until Ctrl-C. Apps that name the same directory share it."""
    with told():
        url = "embedded" if path is None else at(path.resolve())
        with closing(start(url)) as server:
            asyncio.run(_serve(server, port, Output(as_json=as_json)))


async def _serve(server: Embedded, port: int | None, out: Output) -> None:
    url = at(server.path)
    if port is not None:
        _listen(server, port)
    try:
        _say(out, server, url, port)
        await ended_by_hand(asyncio.sleep(math.inf))
    finally:
        if port is not None:
            with suppress(ConfigurationError):
                _listen(server, 0)


def _listen(server: Embedded, port: int) -> None:
    """On a port of this machine, or on none."""
    with redis.Redis(unix_socket_path=server.socket, socket_timeout=ANSWER) as client:
        try:
            client.execute_command("CONFIG", "SET", "bind", "127.0.0.1", "port", port)
        except redis.RedisError as error:
            raise ConfigurationError(f"the server cannot listen on port {port}: {message_of(error)}") from error


def _say(out: Output, server: Embedded, url: str, port: int | None) -> None:
    if out.as_json:
        out.json({"redis": url, "socket": server.socket, "port": port}, indent=None)
    else:
        out.print(
            fields(
                ("redis", Text(visible(url), style="bold")),
                ("for apps", f"TASKPROC_REDIS={shlex.quote(url)}"),
                ("socket", server.socket),
                ("port", None if port is None else f"redis://127.0.0.1:{port}/0, for any user of this machine"),
                ("data", f"{server.path}, kept; the server goes on while an app uses it"),
                ("", "Ctrl-C ends it."),
            )
        )
