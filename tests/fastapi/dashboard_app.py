"""An app with a dashboard, for uvicorn."""

from taskproc import TaskProcessorSettings
from tests.fastapi.dashboard_kit import guarded_app

app = guarded_app(TaskProcessorSettings())
