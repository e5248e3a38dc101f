"""A cron expression in words."""

from __future__ import annotations

import re
from functools import lru_cache

from cron_descriptor import CasingTypeEnum, ExpressionDescriptor, Options
from cron_descriptor.Exception import FormatError

from taskproc.cron import ALIASES

__all__ = ["in_words"]


@lru_cache(maxsize=1_000)
def in_words(cron: str) -> str:
    """What the expression says; empty where there are no words for it."""
    try:
        said = [_described(part.strip()) for part in cron.split("|")]
    except (FormatError, ValueError, IndexError, KeyError):
        return ""
    return "; ".join(said)


def _described(expression: str) -> str:
    options = Options()
    options.locale_code = "en_US"
    options.use_24hour_time_format = True
    options.casing_type = CasingTypeEnum.Sentence
    plain = ALIASES.get(expression.lower(), expression)
    return str(ExpressionDescriptor(_turned(plain), options).get_description())


def _turned(expression: str) -> str:
    """`L5` for the last Friday is written `5L` there."""
    *fields, weekday = expression.split()
    return " ".join([*fields, re.sub(r"\bL([0-7])", r"\1L", weekday, flags=re.IGNORECASE)])
