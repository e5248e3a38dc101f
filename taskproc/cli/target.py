"""Which tasks a command looks at: those of an app's settings, of an address and a prefix, or of the environment."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer
from pydantic import ValidationError

from taskproc.address import read_address
from taskproc.cli.output import MISUSED, tell
from taskproc.cli.serving import load, processor_of
from taskproc.embedded import directory, runs
from taskproc.errors import (
    ConfigurationError,
    InvalidName,
    InvalidSchedule,
    NotConnected,
    StorageUnavailable,
    TaskProcessorError,
)
from taskproc.processor import TaskProcessor
from taskproc.settings import TaskProcessorSettings

__all__ = ["Target", "address", "at", "refuse_absent", "told", "user", "wrong_settings"]

MISUSES = (ConfigurationError, InvalidName, InvalidSchedule, NotConnected, StorageUnavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the options `--app`, `--redis` and `--prefix` say."""

    app: str | None
    redis: str | None
    prefix: str | None

    def processor(self) -> TaskProcessor:
        """A processor on the same data, not connected; the app is not started."""
        said = {"redis": self.redis, "prefix": self.prefix}
        named: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if self.app is None:
            return TaskProcessor(TaskProcessorSettings(**named))
        if named:
            raise ConfigurationError(f"--app says where Redis is: leave out --{' and --'.join(named)}, or --app")
        sys.path.insert(0, str(Path.cwd()))
        found = processor_of(load(self.app))
        return TaskProcessor(found.settings, executor=found.executor)


def address(settings: TaskProcessorSettings) -> str:
    """Where Redis is, without user and password."""
    return at(directory(settings.redis)) if _is_embedded(settings) else read_address(settings.redis).shown


def at(path: Path) -> str:
    """The address of the embedded server of a directory."""
    return f"embedded://{quote(str(path))}"


def refuse_absent(settings: TaskProcessorSettings) -> None:
    """ConfigurationError for an embedded server that does not run: looking would start an empty one."""
    if _is_embedded(settings) and not runs(settings.redis):
        raise ConfigurationError(
            f"no embedded server runs in {directory(settings.redis)}: start the app there, or name another with "
            "--redis embedded:///path"
        )


def _is_embedded(settings: TaskProcessorSettings) -> bool:
    return settings.redis.startswith("embedded")


def user() -> str:
    """Who gives the command, as the list of acts has it: `ann@host`."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        name = "?"
    return f"{name}@{socket.gethostname()}"


def wrong_settings(error: ValidationError) -> str:
    """Which settings are wrong, and how, without what was passed, which may be secret."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


@contextmanager
def told(code: int = MISUSED) -> Generator[None]:
    """An error of the user's becomes one line and an exit code: `code` where the command could not be carried out."""
    try:
        yield
    except ValidationError as error:
        tell(wrong_settings(error))
        raise typer.Exit(code) from None
    except (*MISUSES, ValueError) as error:
        tell(error)
        raise typer.Exit(code) from None
    except TaskProcessorError as error:
        raise typer.Exit(tell(error)) from None
