"""What a checker says of a soak."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Verdict:
    """What is wrong, what was done more than once for a reason, and how much there was to look at."""

    wrong: list[str]
    tasks: int
    attempts: Counter[str]
    """By the revision of the package that ran them."""
    faults: Counter[str]
    again: Counter[str] = field(default_factory=Counter[str])
    """Attempts that followed one that was not counted, by the reason."""
    duplicates: Counter[str] = field(default_factory=Counter[str])
    """Those of them whose first one had run to its end."""
    forgotten: Counter[str] = field(default_factory=Counter[str])
    """What was lost where the server had forgotten what it had acknowledged."""
    looked_at: Counter[str] = field(default_factory=Counter[str])
    """How much each rule had to look at, and for how much of that it had to make an allowance."""

    def __str__(self) -> str:
        lines = [
            f"{self.tasks} tasks; attempts: {_shown(self.attempts)}",
            f"faults: {_shown(self.faults)}",
            f"run again: {_shown(self.again)}",
            f"run to the end more than once: {_shown(self.duplicates)}",
            f"lost because the server forgot them: {_shown(self.forgotten)}",
            f"looked at: {_shown(self.looked_at)}",
        ]
        return "\n".join([*lines, f"wrong: {len(self.wrong)}", *self.wrong[:50]])


def _shown(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counter.most_common() if count) or "nothing"
