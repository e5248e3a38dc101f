"""What the environment, or `.env`, may change."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from taskproc import TaskProcessorSettings


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    data: Path = Field(Path(".taskproc/importer"), validation_alias="IMPORTER_DATA")
    """The folder of the database."""
    redis: str = Field("embedded", validation_alias="TASKPROC_REDIS", repr=False)

    def processor(self) -> TaskProcessorSettings:
        """Reports come first: a million rows of one import do not hold up the report on another."""
        return TaskProcessorSettings(redis=self.redis, queues=["reports", "rows"], default_queue="rows")
