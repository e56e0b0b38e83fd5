"""How much the generated network holds: what the command line says, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

FACILITIES = 50
DEPARTMENTS = 20
"""Of each facility; the first twelve are wards."""
PROVIDERS = 120
"""Of each facility."""
PANEL = 8
"""Results of one report."""
VISITS_BESIDE = 5
"""One in so many visits has records in the imaging and vitals databases and in the notes store."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of a network; the same sizes and seed give the same rows."""

    labs: int = 10_000_000
    encounters: int = 1_000_000
    patients: int = 200_000
    """Patients with a chart."""
    people: int = 200_000
    """Registered patients, those with a chart among them."""
    readings: int = 2_000_000
    """Vital signs, of monitors for the greater part."""
    notes: int = 5_000
    seed: int = 42

    def __post_init__(self) -> None:
        if not 0 < self.patients <= self.people or min(self.labs, self.encounters, self.readings) < 1:
            raise ValueError("Sizes must be positive, and everybody with a chart is registered.")

    def words(self) -> dict[str, str]:
        """Numbers that the statements name, as SQL literals."""
        return {
            "labs": str(self.labs),
            "panels": str(max(1, self.labs // PANEL)),
            "encounters": str(self.encounters),
            "patients": str(self.patients),
            "people": str(self.people),
            "readings": str(self.readings),
            "seed": str(self.seed),
            "facilities": str(FACILITIES),
            "departments": str(DEPARTMENTS),
            "providers": str(PROVIDERS),
            "panel": str(PANEL),
            "beside": str(VISITS_BESIDE),
        }
