"""Appointments before and after now, and visits to a second hospital of the network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from workers.network.resource import AS_OF, HL7, LOINC, SNOMED, Json, Source, concept, link, named, of, quantity, stamp
from workers.network.stays import staff

SLOT = timedelta(minutes=30)
SLOTS_PER_DAY = 16
FIRST_HOUR = 13
"""Of the working day, in UTC: 9 o'clock in Massachusetts in summer."""

PAST = ("fulfilled", "fulfilled", "fulfilled", "noshow", "cancelled")
FUTURE = ("booked", "booked", "booked", "pending", "proposed", "cancelled")
KINDS = (
    ("185349003", "Encounter for check up"),
    ("185389009", "Follow-up visit"),
    ("11429006", "Consultation"),
)


class Diary:
    """Which slots of which practitioners are taken, so that nobody is booked twice."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, datetime]] = set()

    def book(self, practitioner: str, day: datetime, slot: int) -> datetime:
        """Start of the first free slot on or after this one, on a working day."""
        start = day.replace(hour=FIRST_HOUR, minute=0, second=0, microsecond=0) + SLOT * slot
        while start.weekday() >= 5 or (practitioner, start) in self._taken:
            start += SLOT if start.weekday() < 5 else timedelta(days=1)
        self._taken.add((practitioner, start))
        return start


def appointments(resources: list[Json], source: Source) -> Iterator[Json]:
    """Two or three appointments of every living patient, one of them past."""
    diary, doctors = Diary(), staff(resources, "doctor")
    for patient in of(resources, "Patient"):
        if patient.get("deceasedBoolean") or "deceasedDateTime" in patient:
            continue
        chances = source.random(f"appointments {patient['id']}")
        doctor = chances.choice(doctors)
        for number in range(chances.choice((2, 3))):
            days = -chances.randint(3, 60) if number == 0 else chances.randint(1, 45)
            start = diary.book(doctor["id"], AS_OF + timedelta(days=days), chances.randrange(SLOTS_PER_DAY - 2))
            status = chances.choice(PAST if start < AS_OF else FUTURE)
            yield _appointment(patient, doctor, start, status, chances.choice(KINDS), source, str(number))


def _appointment(
    patient: Json, doctor: Json, start: datetime, status: str, kind: tuple[str, str], source: Source, key: str
) -> Json:
    clinic = source.reference("Location", "loc-ward-OPD")
    involved = [link(patient), named(doctor), clinic | {"display": "Outpatient Clinic"}]
    return {
        "resourceType": "Appointment",
        "id": source.id("Appointment", f"{patient['id']} {key}"),
        "status": status,
        "serviceType": [concept(SNOMED, *kind)],
        "description": kind[1],
        "start": stamp(start),
        "end": stamp(start + SLOT),
        "participant": [{"actor": actor, "status": "accepted"} for actor in involved],
    }


def visits(guests: list[Json], resources: list[Json], source: Source) -> Iterator[Json]:
    """A consultation at this facility of each patient of another one, with a blood pressure.

    The first of them is there now.
    """
    doctors = staff(resources, "doctor")
    for number, patient in enumerate(guests):
        chances = source.random(f"visit {patient['id']}")
        doctor = chances.choice(doctors)
        start = AS_OF - timedelta(days=chances.randint(5, 80), hours=chances.randint(0, 8))
        encounter: Json = {
            "resourceType": "Encounter",
            "id": source.id("Encounter", f"visit {patient['id']}"),
            "status": "finished",
            "class": {"system": HL7 + "v3-ActCode", "code": "AMB", "display": "ambulatory"},
            "type": [concept(SNOMED, "11429006", "Consultation")],
            "subject": link(patient),
            "serviceProvider": source.facility.reference,
            "period": {"start": stamp(start), "end": stamp(start + SLOT)},
            "participant": [
                {"type": [concept(HL7 + "v3-ParticipationType", "ATND", "attender")], "individual": named(doctor)}
            ],
            "location": [{"location": source.reference("Location", "loc-ward-OPD"), "status": "completed"}],
        }
        if number == 0:
            here = [item | {"status": "active"} for item in encounter["location"]]
            encounter |= {"status": "in-progress", "period": {"start": stamp(start)}, "location": here}
        yield encounter
        yield {
            "resourceType": "Observation",
            "id": source.id("Observation", f"visit {patient['id']}"),
            "status": "final",
            "category": [concept(HL7 + "observation-category", "vital-signs", "Vital Signs")],
            "code": concept(LOINC, "85354-9", "Blood pressure panel with all children optional"),
            "subject": link(patient),
            "encounter": link(encounter),
            "effectiveDateTime": stamp(start + timedelta(minutes=5)),
            "component": blood_pressure(chances.randint(112, 148), chances.randint(66, 92)),
        }


def blood_pressure(systolic: float, diastolic: float) -> list[Json]:
    """Components of a blood pressure panel, in mmHg."""
    parts = (("8480-6", "Systolic blood pressure", systolic), ("8462-4", "Diastolic blood pressure", diastolic))
    return [
        {"code": concept(LOINC, code, name), "valueQuantity": quantity(value, "mmHg", "mm[Hg]")}
        for code, name, value in parts
    ]
