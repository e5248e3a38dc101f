"""Whether a value is the same after its way through JSON, types included."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, time
from typing import Any, cast

from pydantic import BaseModel

__all__ = ["is_plain", "same"]

DEEPEST = 100


def is_plain(value: object, depth: int = 0) -> bool:
    """Whether the value is of the very types that JSON has, and within what JSON can say."""
    kind = type(value)
    if kind is list:
        return depth < DEEPEST and all(is_plain(item, depth + 1) for item in cast("list[object]", value))
    if kind is dict:
        items = cast("dict[object, object]", value).items()
        return depth < DEEPEST and all(type(key) is str and is_plain(item, depth + 1) for key, item in items)
    return value is None or kind in (bool, int, str) or (kind is float and math.isfinite(cast("float", value)))


def same(sent: Any, back: Any) -> bool:
    """Whether `back` is what was sent: of the same types and equal, part by part. An int may be sent for a float.

    Of a time zone only the offset travels. What defines no equality answers for itself. Of what is the same in both
    directions, no int has become a float.
    """
    if type(sent) is not type(back):
        return type(sent) is int and type(back) is float and sent == back
    compare = next((compare for kinds, compare in _COMPARERS if isinstance(sent, kinds)), _same_object)
    return compare(sent, back)


def _same_items(sent: Any, back: Any) -> bool:
    return len(sent) == len(back) and all(map(same, sent, back))


def _same_deque(sent: deque[Any], back: deque[Any]) -> bool:
    return sent.maxlen == back.maxlen and _same_items(sent, back)


def _same_members(sent: Any, back: Any) -> bool:
    """Of sets, or the keys of dicts, in any order."""
    found = {member: member for member in back}
    return len(sent) == len(found) and all(member in found and same(member, found[member]) for member in sent)


def _same_entries(sent: dict[Any, Any], back: dict[Any, Any]) -> bool:
    return _same_members(sent, back) and all(same(value, back[key]) for key, value in sent.items())


def _same_float(sent: float, back: float) -> bool:
    return sent == back or (math.isnan(sent) and math.isnan(back))


def _same_moment(sent: datetime | time, back: datetime | time) -> bool:
    """By what a clock there shows, and how far it is from UTC. Equality of datetimes means less; and in the hour that
    a clock repeats, more: no two zones are equal then.
    """

    def looks(moment: datetime | time) -> tuple[object, ...]:
        return moment.replace(tzinfo=None), moment.tzinfo is None, moment.utcoffset()

    return looks(sent) == looks(back)


def _same_model(sent: BaseModel, back: BaseModel) -> bool:
    names = type(sent).model_fields
    return same(sent.model_extra, back.model_extra) and _same_attributes(sent, back, names)


def _same_object(sent: Any, back: Any) -> bool:
    if dataclasses.is_dataclass(sent):
        return _same_attributes(sent, back, [field.name for field in dataclasses.fields(sent)])
    equality: object = type(sent).__eq__
    return equality is object.__eq__ or bool(sent == back)


def _same_attributes(sent: object, back: object, names: Iterable[str]) -> bool:
    return all(same(getattr(sent, name, None), getattr(back, name, None)) for name in names)


_COMPARERS: Sequence[tuple[type | tuple[type, ...], Callable[[Any, Any], bool]]] = (
    ((list, tuple), _same_items),
    (deque, _same_deque),
    ((set, frozenset), _same_members),
    (dict, _same_entries),
    (float, _same_float),
    ((datetime, time), _same_moment),
    (BaseModel, _same_model),
)
