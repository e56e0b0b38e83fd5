"""The graph tells of each patient what the files say: every fact once, numbers to the digit, dates as written."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fidelity.charts import PAGE
from tests.fidelity.compare import canonical, differences
from tests.fidelity.facts import Chart
from tests.fidelity.files import Files
from tests.fidelity.imported import SHARED, Imported

DIALECTS = {"synthea-2019": 24, "synthea-2020": 2, "synthea-2021-conditional": 2}
"""Folders of the sample bundles, each another dialect, and how many patients they have."""


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


@pytest.mark.parametrize(("dialect", "count"), DIALECTS.items())
async def test_the_graph_equals_the_sample_bundles(shared: Imported, dialect: str, count: int) -> None:
    patients = Files(sorted((SHARED / dialect).glob("*.gz"))).patients()
    assert len(patients) == count
    for patient in patients:
        await same(shared, patient, PAGE)


@pytest.mark.parametrize("size", [7, 100])
async def test_the_graph_equals_the_generated_files(generated: Imported, size: int) -> None:
    patients = generated.files.patients()
    assert len(patients) == 3
    for patient in patients:
        await same(generated, patient, size)
