"""Pages that show what a processor does, and buttons that steer it."""

from taskproc_fastapi.dashboard.access import DashboardRights
from taskproc_fastapi.dashboard.mount import add_task_processor_dashboard

__all__ = ["DashboardRights", "add_task_processor_dashboard"]
