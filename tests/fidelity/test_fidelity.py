"""The graph tells of each patient what the files say: every fact once, numbers to the digit, dates as written."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fidelity.charts import PAGE
from tests.fidelity.compare import canonical, differences
from tests.fidelity.conftest import Imported
from tests.fidelity.facts import Chart

SHARED_PATIENTS = {
    "synthea-2020": ("ef2185a2-4460-49bb-9604-a36ed52c2ef4", "0ce18c7d-fd78-46d9-81b5-8bed231c337a"),
    "synthea-2021-conditional": ("742fc10a-c565-f636-3c05-5dcd28672194", "23dc3811-ae4e-fc12-fe61-b4a54b057624"),
    "synthea-2019": (
        "42ba9929-3ab7-44fd-8f64-401c936fd769",
        "e9408230-3ce9-4536-a84c-4efad41111b4",
        "5fb0178e-9765-4750-9ae5-cad09fd70a17",
        "ccc11b20-cd0d-4197-8b25-6a01fce1372e",
        "0e3c9c49-b04c-470f-bb56-b22df2affd3e",
        "a2b4d923-446b-4bf4-b0f8-70b0ca5a9887",
    ),
}
"""Ten patients over the three dialects."""


async def same(imported: Imported, patient: str, size: int) -> None:
    """Asserts that the graph and the files tell the same of a patient."""
    expected = Chart(imported.files, patient)
    facts, people = await imported.chart(patient, size)
    ids = Counter(fact["id"] for told in facts.values() for fact in told)
    assert [key for key, times in ids.items() if times > 1] == []
    told = expected.sections()
    assert told.keys() <= facts.keys()
    different = {
        relation: found
        for relation, shown in facts.items()
        if (found := differences(imported.files, relation, told.get(relation, []), shown))
    }
    assert different == {}
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
