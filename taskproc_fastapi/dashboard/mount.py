"""Puts the dashboard into an app."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import fastapi

from taskproc.errors import ConfigurationError
from taskproc_fastapi.dashboard.access import DashboardRights, rights_of_everybody
from taskproc_fastapi.dashboard.redaction import Redact

__all__ = ["Rights", "add_task_processor_dashboard"]

Rights = Callable[..., DashboardRights | Any]
"""A dependency: a function with parameters as those of a route, `async` or not."""

NEEDED = ("jinja2", "cron_descriptor")


def add_task_processor_dashboard(
    app: fastapi.FastAPI,
    path: str = "/tasks",
    *,
    dependencies: Sequence[Any] = (),
    rights: Rights | None = None,
    allow_anonymous: bool = False,
    redact: Redact = None,
) -> None:
    """Serves the dashboard below `path`, to those whom all `dependencies` let in: `[Depends(admin)]`.

    `rights` is a dependency that returns the `DashboardRights` of a viewer; without it whoever is let in sees and may
    do everything. `redact` says which arguments are not shown: by default those whose names look secret; True: all;
    False: none; or a function of a `TaskInfo` and a name that is true for those to hide.

    ConfigurationError when nobody guards it and `allow_anonymous=True` is not said, when the app has no processor, or
    when the extra `dashboard` is not installed.
    """
    _check(app, path, dependencies, allow_anonymous=allow_anonymous)
    if not (redact is None or isinstance(redact, bool) or callable(redact)):
        raise ConfigurationError(f"redact={redact!r}: pass True, False, or a function of a TaskInfo and a name")
    from taskproc_fastapi.dashboard.routes import router_of  # noqa: PLC0415 - needs the extra

    prefix = path.rstrip("/")
    router = router_of(prefix, rights or rights_of_everybody, redact)
    app.include_router(router, prefix=prefix, dependencies=list(dependencies), include_in_schema=False)


def _check(app: fastapi.FastAPI, path: str, dependencies: Sequence[Any], *, allow_anonymous: bool) -> None:
    if not path.startswith("/"):
        raise ConfigurationError(f'the path of the dashboard must begin with a slash: "/{path}" instead of {path!r}')
    if not dependencies and not allow_anonymous:
        raise ConfigurationError(
            f"nobody guards the dashboard at {path}: pass dependencies=[Depends(admin)], where admin is your "
            "dependency that refuses whoever may not see it; or, if everybody may, allow_anonymous=True"
        )
    if getattr(app.state, "task_processor", None) is None:
        raise ConfigurationError("this app has no task processor: call add_task_processor() before the dashboard")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"the dashboard needs {' and '.join(missing)}: pip install 'taskproc[dashboard]'")
