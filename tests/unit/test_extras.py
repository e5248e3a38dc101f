"""What is not installed is named, with the extra that brings it."""

import pytest

from tests.kit import process


@pytest.mark.parametrize(
    "missing, imported, extra",
    [
        ("fastapi", "taskproc_fastapi", "fastapi"),
        ("dependency_injector", "taskproc_fastapi", "fastapi"),
        ("opentelemetry", "taskproc.otel", "otel"),
        ("prometheus_client", "taskproc.prometheus", "prometheus"),
    ],
)
def test_missing_extra(missing: str, imported: str, extra: str) -> None:
    """The message says what to install."""
    with process(f"import sys; sys.modules[{missing!r}] = None; import {imported}") as it:
        assert it.wait(20) == 1
        assert f"{imported} needs " in it.log
        assert f"pip install 'taskproc[{extra}]'" in it.log
