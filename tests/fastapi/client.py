"""Starlette's test client; that prefers httpx2, and warns, on import, when it finds httpx only."""

import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

__all__ = ["TestClient", "get", "post"]


def get(client: TestClient, path: str) -> Any:
    """The JSON that a GET request answers."""
    client_: Any = client  # typed by httpx2, which need not be there
    return client_.get(path).json()


def post(client: TestClient, path: str) -> Any:
    """The JSON that a POST request answers."""
    client_: Any = client
    return client_.post(path).json()
