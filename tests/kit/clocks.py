"""A wall clock that is wrong, in a process of its own."""

import datetime as dt
import time
from typing import Any, Self

_time = time.time
_datetime: Any = dt.datetime
_ahead = 0.0


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Shifted(dt.datetime, metaclass=_Kind):
    """What `datetime.datetime` is then."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)


def set_wall_clock(ahead: float) -> None:
    """Puts the clock of this process so many seconds ahead, or behind; call it again for a step.

    `time.monotonic` stays right, as on a real machine. To be called before what it is meant for is imported: modules
    that have taken `datetime` from its module keep the right one.
    """
    global _ahead  # noqa: PLW0603 - there is one clock
    _ahead = ahead
    setattr(time, "time", lambda: _time() + _ahead)  # noqa: B010 - type checkers would not have it
    setattr(dt, "datetime", _Shifted)  # noqa: B010
