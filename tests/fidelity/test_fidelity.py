"""The graph tells of each patient what the files say: every fact once, numbers to the digit, dates as written."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fidelity.charts import PAGE
from tests.fidelity.compare import canonical, differences
from tests.fidelity.facts import Chart
from tests.fidelity.imported import Imported

SHARED_PATIENTS = {
    "synthea-2020": ("ef2185a2-4460-49bb-9604-a36ed52c2ef4", "0ce18c7d-fd78-46d9-81b5-8bed231c337a"),
    "synthea-2021-conditional": ("742fc10a-c565-f636-3c05-5dcd28672194", "23dc3811-ae4e-fc12-fe61-b4a54b057624"),
    "synthea-2019": (
        "7e684d3d-37d3-4b96-962d-6a592b051c48",
        "9e2e28b1-1db8-489f-a5d4-3d7e6b2b3a0c",
        "a18b9aef-b230-4503-a0e3-ee86d3354320",
        "39cc9d76-0952-4ded-9b39-b97d1e43b9cf",
        "e6d67197-97a1-499b-83f8-eea9ef95cf0c",
        "6e412edd-70a6-44cd-a109-2a908aba849f",
    ),
}
"""Ten patients over the three dialects: those of 2019 have imaging, goals, allergies and the largest charts."""


async def same(imported: Imported, patient: str, size: int) -> None:
    """Asserts that the graph and the files tell the same of a patient."""
    expected = Chart(imported.files, patient)
    facts, people = await imported.chart(patient, size)
    ids = Counter(fact["id"] for told in facts.values() for fact in told)
    assert [key for key, times in ids.items() if times > 1] == []
    told = expected.sections()
    assert told.keys() <= facts.keys()
    different = [
        f"{relation}: {found}"
        for relation, shown in facts.items()
        for found in differences(imported.files, relation, told.get(relation, []), shown)
    ]
    assert not different, "\n".join(different)
    assert people
    for person in people:
        assert canonical(person) == canonical(expected.person())


@pytest.mark.parametrize(
    ("dialect", "patient"),
    [(dialect, patient) for dialect, patients in SHARED_PATIENTS.items() for patient in patients],
)
async def test_the_graph_equals_the_sample_bundles(shared: Imported, dialect: str, patient: str) -> None:
    await same(shared, f"Patient/{patient}", PAGE)


@pytest.mark.parametrize("size", [7, 100])
async def test_the_graph_equals_the_generated_files(generated: Imported, size: int) -> None:
    patients = generated.files.patients()
    assert len(patients) == 3
    for patient in patients:
        await same(generated, patient, size)
