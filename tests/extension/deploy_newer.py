"""What only the new version of the application has."""

import importlib

from taskproc import background

deploy = importlib.import_module("deploy")


@background
async def newer(word: str) -> None:
    """Unknown to the old version."""
    deploy.note(word)
