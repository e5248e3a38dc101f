"""All settings of a processor, with their defaults; each may come from the environment as `TASKPROC_<NAME>`."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import random
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Secret,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from taskproc.errors import ConfigurationError
from taskproc.names import queue_name, schedule_name, tenant_name
from taskproc.options import LONGEST, MOST_RETRIES, SHORTEST

if TYPE_CHECKING:
    from taskproc.context import TaskContext

    TaskHook = Callable[[TaskContext], Awaitable[object] | object]
    # it gets a BaseException; Any, so that a hook that says Exception fits
    ErrorHook = Callable[[TaskContext, Any], Awaitable[object] | object]
    DelayHook = Callable[[TaskContext, int], Awaitable[timedelta | None] | timedelta | None]
else:  # what pydantic sees: the context module builds on this one
    TaskHook = ErrorHook = DelayHook = Callable[..., Any]

__all__ = ["DelayHook", "ErrorHook", "TaskHook", "TaskProcessorSettings", "backoff"]


def backoff(
    *,
    first: timedelta = timedelta(seconds=1),
    factor: float = 4,
    longest: timedelta = timedelta(hours=1),
    jitter: float = 0.2,
) -> DelayHook:
    """A delay before each retry that grows: by default 1, 4, 16 s … up to an hour, each ± 20 %."""
    if not timedelta(0) < first <= longest <= LONGEST or factor < 1 or not 0 <= jitter <= 1:
        raise ConfigurationError(
            f"backoff(first={first}, factor={factor:g}, longest={longest}, jitter={jitter:g}): it grows from first to "
            "longest, by a factor of at least 1, with a jitter from 0 to 1"
        )
    steps = math.log(longest / first, factor) if factor > 1 else 0

    def delay(ctx: TaskContext, _retries_left: int) -> timedelta:
        grown = first * factor ** min(ctx.attempt - 1, steps)
        return min(grown, longest) * random.uniform(1 - jitter, 1 + jitter)

    return delay


def _duration(value: object, parse: ValidatorFunctionWrapHandler) -> timedelta:
    with contextlib.suppress(ValueError):
        value = float(value) if isinstance(value, str) else value
    try:
        return cast("timedelta", parse(value))
    except ValidationError:
        raise ValueError("is no duration: write it in seconds (3600, 1.5), as PT5M, or as 00:05:00") from None


def _from(shortest: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not shortest <= value <= LONGEST:
            raise ValueError(f"must be from {shortest.total_seconds():g} seconds to a hundred years")
        return value

    return AfterValidator(check)


def _comma_separated(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [name.strip() for name in value.split(",") if name.strip()]


def _package(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is no package: write it as it is imported, such as app.tasks")
    return name


def _keys(value: object) -> object:
    """Hidden from the start, whatever it is: a refusal shows what it refuses."""
    with contextlib.suppress(ValueError):
        value = _comma_separated(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return [_hidden(key) for key in cast("list[object]", value)] if isinstance(value, list | tuple) else _hidden(value)


def _hidden(value: object) -> object:
    if isinstance(value, SecretStr):
        return value
    return SecretStr(value) if isinstance(value, str) else Secret(value)


def _long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value().encode()) < SHORTEST_KEY:
        raise ValueError(
            f"a key must have at least {SHORTEST_KEY} bytes: make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return key


SHORTEST_KEY = 32
Duration = Annotated[timedelta, WrapValidator(_duration), _from(timedelta(0))]
PositiveDuration = Annotated[timedelta, WrapValidator(_duration), _from(SHORTEST)]
Names = Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)]
Keys = Annotated[list[Annotated[SecretStr, AfterValidator(_long_enough)]], NoDecode, BeforeValidator(_keys)]
Packages = Annotated[list[Annotated[str, AfterValidator(_package)]], NoDecode, BeforeValidator(_comma_separated)]


class TaskProcessorSettings(BaseSettings):
    """Settings of one processor. Durations are `timedelta`; in the environment `3600`, `1.5`, `PT5M` or `00:05:00`;
    lists in the environment are JSON or separated by commas. A `.env` file is read too.
    """

    model_config = SettingsConfigDict(
        env_prefix="TASKPROC_", env_file=".env", extra="ignore", validate_assignment=True, validate_default=True
    )

    redis: str = Field(default="redis://localhost:6379/0", repr=False)
    """Where Redis or Valkey is: `redis://`, `rediss://`, `unix://`, `redis+sentinel://h1,h2/name`, `redis+cluster://h1,h2`,
    `embedded` or `embedded:///path`."""
    prefix: str = "{taskproc}"
    """In front of every key; its braces keep all keys in one hash slot (added when missing)."""
    app_name: Annotated[str, AfterValidator(schedule_name)] = "app"
    """Whose declared schedules these are; apps that share a prefix need a name each."""
    queues: Names = ["default"]
    """The queues that this process serves, the first non-empty one wins."""
    default_queue: Annotated[str, AfterValidator(queue_name)] = "default"
    """Where tasks go that name no queue."""
    tenant: Annotated[str, AfterValidator(tenant_name)] = "default"
    """Whose tasks are those that name no tenant."""
    max_workers: int = Field(default=20, ge=1, le=10_000)
    """How many tasks run at a time in this process; also the size of its thread pool."""
    retries: int = Field(default=3, ge=1, le=MOST_RETRIES)
    """Failures allowed: with 3, the third failed attempt is the last."""
    invisibility: PositiveDuration = timedelta(minutes=5)
    """How long an attempt may run unless it extends its lock."""
    auto_extend: bool = False
    """Renew `invisibility` for as long as the worker lives and its event loop moves."""
    base_frequency: PositiveDuration = timedelta(seconds=5)
    """The longest time an idle worker waits before it looks for work unasked."""
    pushback_frequency: PositiveDuration = timedelta(seconds=10)
    """How often due tasks and expired leases of queues that no live worker serves are looked after."""
    clean_up_frequency: PositiveDuration = timedelta(minutes=5)
    """How often ended batches past their retention are removed."""
    retention: Duration = timedelta(days=7)
    """How long an ended batch can be looked at."""
    deadletter: bool = True
    """Keep finally failed tasks for `retry_dead_tasks`; False discards them."""
    deadletter_unique_schedules: bool = False
    """Keep finally failed tasks of unique schedules too; their schedule then waits for `retry` or `discard`."""
    use_cron_seconds: bool = False
    """Cron expressions may have six fields, seconds first."""
    use_hosted_service: bool = True
    """False: `add_task_processor_executor()` and `processor.run()` by the plugin run nothing here."""
    worker_timeout: PositiveDuration = timedelta(seconds=10)
    """Without a heartbeat for this long, a worker is dead and its tasks go back."""
    max_recoveries: int = Field(default=3, ge=1)
    """The how-manieth take-back from a dead worker puts a task into the dead letters."""
    unknown_task_grace: Duration = timedelta(minutes=10)
    """How long a task that this worker does not know is put back for others before it is dead-lettered."""
    shutdown_grace: Duration = timedelta(seconds=25)
    """How long running tasks may go on after a stop before they are cancelled and handed back."""
    command_timeout: PositiveDuration = timedelta(seconds=5)
    """How long a call is repeated while Redis is away before it raises StorageUnavailable."""
    hook_timeout: PositiveDuration = timedelta(seconds=10)
    """How long a hook may take before it is given up."""
    max_payload: int = Field(default=1024 * 1024, ge=1)
    """The most bytes that the encoded arguments of one task may take."""
    allowed_modules: Packages = []
    """Packages whose functions may be run without `@background`, and be imported for it."""

    signing_keys: Keys = Field(default=[], repr=False)
    """Secrets by which payloads are signed: with the first one; any of them is accepted."""
    encryption_keys: Keys = Field(default=[], repr=False)
    """Secrets by which payloads are encrypted, likewise; needs the extra `crypto`."""
    accept_unsealed: bool = False
    """Run tasks that are neither signed nor encrypted though there are keys: until those from before are done."""

    on_task_start: TaskHook | None = Field(default=None, repr=False)
    """`(ctx)`, before the scope opens."""
    on_task_end: TaskHook | None = Field(default=None, repr=False)
    """`(ctx)`, after each attempt, with `ctx.outcome` set and its batch counted."""
    on_task_error: ErrorHook | None = Field(default=None, repr=False)
    """`(ctx, error)`, after each failed attempt."""
    on_task_failed_delay: DelayHook | None = Field(default_factory=backoff, repr=False)
    """`(ctx, retries_left)`: how long to wait before the next attempt; None is at once."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed wins over the environment, which wins over `.env`. ConfigurationError for an unknown name."""
        for name in init_settings().keys() - settings_cls.model_fields.keys():
            near = difflib.get_close_matches(name, settings_cls.model_fields, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"{settings_cls.__name__}({name}=…): there is no such setting{hint}")
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @field_validator("prefix")
    @classmethod
    def _one_hash_slot(cls, prefix: str) -> str:
        bare = prefix.replace("{", "").replace("}", "")
        if not bare or not prefix.isprintable() or set(prefix) & set("*?[]\\ "):
            raise ValueError("must not be empty nor contain spaces or any of * ? [ ] \\")
        return prefix if re.match(r"[^{]*\{[^}]+\}", prefix) else "{" + bare + "}"

    @field_validator("queues")
    @classmethod
    def _queue_names(cls, queues: list[str]) -> list[str]:
        if not queues:
            raise ValueError("name at least one queue, or set use_hosted_service=False for a producer")
        return [queue_name(name) for name in dict.fromkeys(queues)]
