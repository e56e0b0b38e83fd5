"""What an import did: counts for each resource type, and the files that could not be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Resources of one type: `read` is the sum of the others."""

    read: int = 0
    written: int = 0
    unchanged: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])
    """Reasons, each with the number of resources."""

    def add(self, why_not: str | None, *, written: bool) -> None:
        """Counts one resource that was read."""
        if why_not:
            self.skipped[why_not] += 1
        else:
            self.written += written
            self.unchanged += not written


@dataclass(slots=True)
class Report:
    """Result of an import."""

    types: dict[str, Counts] = field(default_factory=dict[str, Counts])
    files: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Name of each file that could not be read, and why."""

    def of(self, resource_type: str) -> Counts:
        """Counts of a type."""
        return self.types.setdefault(resource_type, Counts())

    def add(self, other: Report) -> None:
        """Takes in the counts of one file."""
        for name, counts in other.types.items():
            mine = self.of(name)
            mine.read += counts.read
            mine.written += counts.written
            mine.unchanged += counts.unchanged
            mine.skipped += counts.skipped

    def add_documents(self, name: str, written: int, unchanged: int) -> None:
        """Counts documents that are made of a part of other resources."""
        counts = self.of(name)
        counts.read += written + unchanged
        counts.written += written
        counts.unchanged += unchanged

    def settle(self, resource_type: str, waited: str, why_not: str | None, *, written: bool) -> None:
        """Counts a resource anew that was counted as waiting."""
        counts = self.of(resource_type)
        counts.skipped[waited] -= 1
        counts.add(why_not, written=written)

    def table(self) -> str:
        """Plain text table, one line for each type, then the broken files."""
        lines = [f"{'resource':<28}{'read':>9}{'written':>9}{'unchanged':>11}{'skipped':>9}  why"]
        for name, counts in sorted(self.types.items()):
            why = "; ".join(f"{n} {reason}" for reason, n in sorted(counts.skipped.items()) if n)
            skipped = counts.skipped.total()
            line = f"{name:<28}{counts.read:>9}{counts.written:>9}{counts.unchanged:>11}{skipped:>9}  {why}"
            lines.append(line.rstrip())
        lines += [f"broken file {name}: {why}" for name, why in self.broken]
        return "\n".join(lines)
