"""Readings of bedside monitors every minute: heart rate, saturation, respiratory rate, temperature, blood pressure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from workers.network.resource import AS_OF, HL7, LOINC, Json, concept, quantity, stamp
from workers.network.schedule import blood_pressure
from workers.network.stays import Stay

SIGNALS = (
    ("8867-4", "Heart rate", "/min", 76.0, 1.6),
    ("2708-6", "Oxygen saturation in Arterial blood", "%", 97.0, 0.4),
    ("9279-1", "Respiratory rate", "/min", 15.0, 0.5),
    ("8310-5", "Body temperature", "Cel", 36.9, 0.03),
)
"""LOINC code and name, unit, where the patient recovers to, and the step of a minute (standard deviation)."""

PULL = 0.02
"""Part of the distance to the value of recovery that a minute takes back."""

CATEGORY = [concept(HL7 + "observation-category", "vital-signs", "Vital Signs")]
PRESSURE = concept(LOINC, "85354-9", "Blood pressure panel with all children optional")


def readings(stay: Stay, minutes: int) -> Iterator[Json]:
    """Observations of the last `minutes` minutes of a stay: each signal walks from how the patient came to recovery."""
    chances = stay.source.random(f"monitor {stay.key}")
    device = {"reference": f"Device/{stay.source.id('Device', f'monitor {stay.key}')}", "display": "Bedside monitor"}
    fixed = stay.fact | {"resourceType": "Observation", "status": "final", "category": CATEGORY, "device": device}
    reason = stay.reason
    values = [float(reason.heart_rate), float(reason.saturation), float(reason.respiratory_rate), 37.8]
    systolic = float(reason.systolic)
    for minute in range(minutes):
        moment = stamp(AS_OF - timedelta(minutes=minutes - minute))
        for place, (code, name, unit, target, step) in enumerate(SIGNALS):
            values[place] += (target - values[place]) * PULL + chances.gauss(0, step)
            digits = 1 if code == "8310-5" else None
            shown = min(round(values[place], digits), 100) if unit == "%" else round(values[place], digits)
            yield fixed | {
                "id": stay.source.id("Observation", f"monitor {stay.key} {code} {moment}"),
                "code": concept(LOINC, code, name),
                "effectiveDateTime": moment,
                "valueQuantity": quantity(shown, unit),
            }
        systolic += (124 - systolic) * PULL + chances.gauss(0, 1.5)
        diastolic = systolic * 0.62 + chances.gauss(0, 1.2)
        yield fixed | {
            "id": stay.source.id("Observation", f"monitor {stay.key} pressure {moment}"),
            "code": PRESSURE,
            "effectiveDateTime": moment,
            "component": blood_pressure(round(systolic), round(diastolic)),
        }
