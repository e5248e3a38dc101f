"""A package of an application, with good and bad things in it."""

import sys
import textwrap
from collections.abc import Generator
from pathlib import Path

import pytest

SHOP = {
    "__init__.py": "",
    "jobs.py": """
        import functools, os, subprocess
        from os import system
        from subprocess import Popen, run
        from shop.util import Helper, helper
        from taskproc import background

        def work(n): ...
        async def awork(n): ...
        def _private(): ...

        @background
        def marked(): ...

        def __getattr__(name):
            raise RuntimeError("the module's __getattr__ was run")

        class Jobs(Helper):
            @staticmethod
            def static(): ...
            @classmethod
            def clsm(cls): ...
            def instance(self): ...
            @property
            def prop(self): raise RuntimeError("the property was run")
            def __call__(self): ...
            shell = staticmethod(subprocess.run)
            boxed = staticmethod(os.system)
            class Nested:
                @staticmethod
                def deep(): ...

        partial = functools.partial(work, 1)
        wrapped = functools.wraps(subprocess.run)(lambda: None)
        instance = Jobs()
        number = 7
        """,
    "util.py": """
        def helper(): ...
        class Helper:
            @classmethod
            def inherited(cls): ...
        """,
    "trap.py": "raise SystemExit('imported')",
    "__main__.py": "raise SystemExit('imported')",
    "broken.py": "raise RuntimeError('on import')",
    "_hidden.py": "def work(): ...",
    "other/__init__.py": "",
    "other/_inner.py": "def work(): ...",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A package that can be imported, and is not yet."""
    for name, code in SHOP.items():
        file = tmp_path / "shop" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
