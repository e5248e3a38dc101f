"""Says what is missing when this package is imported without what it needs."""

from __future__ import annotations

from importlib import import_module

__all__: list[str] = []

try:
    import_module("fastapi")
    import_module("dependency_injector")
except ModuleNotFoundError as error:
    said = f"taskproc_fastapi needs {error.name}, which is not installed: pip install 'taskproc[fastapi]'"
    raise ModuleNotFoundError(said, name=error.name) from error
