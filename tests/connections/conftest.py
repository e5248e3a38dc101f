"""Both ways in which the driver reads replies."""

from typing import Any

import pytest
from redis._parsers import _AsyncRESP2Parser

from taskproc import links


class _Plain(links._Tcp):
    def __init__(self, **options: Any) -> None:
        super().__init__(parser_class=_AsyncRESP2Parser, **options)


@pytest.fixture(params=["hiredis", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with the parser that the driver takes by default, and once with that of programs without hiredis."""
    name: str = request.param
    if name == "python":
        monkeypatch.setattr(links, "_Tcp", _Plain)
    return name
