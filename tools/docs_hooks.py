"""What mkdocs calls while it builds the documentation."""

import re

_FOR_TESTS = re.compile(r"^<!-- python\n.*?^-->\n", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: object) -> str:
    """The page without the code in comments, which is for the test that runs the page."""
    return _FOR_TESTS.sub("", markdown)
