"""Several dashboards in one app, each for others: who may only look, who sees one tenant, who comes by a proxy."""

from playwright.async_api import Browser, Page, expect

from tests.browser.kit import browsing
from tests.browser.test_pages import _faults
from tests.browser.world import FAIR, TENANT, World, pages_of, world
from tests.conftest import MakeSettings

BEHIND = "/behind/a proxy"
OTHERS = ("other", "third", "alone")
"""What is another tenant's."""
