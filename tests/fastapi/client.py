"""Starlette's test client; that prefers httpx2, and warns, on import, when it finds httpx only."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

__all__ = ["TestClient"]
