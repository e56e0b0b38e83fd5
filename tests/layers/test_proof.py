"""psql transcripts: the sets that policies compare with answer policies only, so that nobody learns who said no."""

from __future__ import annotations

import pytest

from tests.layers.hospital import Hospital
from tests.psql.transcript import psql

DENIED = "42501"
SETS = ("reached", "denied", "excepted", "apart")
"""Functions of patients that a policy proves itself to."""


@pytest.mark.parametrize("function", SETS)
async def test_a_set_of_patients_answers_policies_only(hospital: Hospital, function: str) -> None:
    ward = await hospital.department()
    patient, silent = await hospital.patient(ward), await hospital.patient(ward)
    await hospital.consent(patient, type="deny", securityLabel=[{"code": "ETH"}])
    await hospital.consent(silent, type="deny")
    async with psql(hospital.settings, hospital.caller("ward_nurse", department_id=ward)) as nurse:
        assert (await nurse.say("SELECT DISTINCT patient_id FROM condition")).column == [patient]
        for proof in ("gen_random_uuid()", "NULL"):
            outcome = await nurse.say(f"SELECT * FROM access.{function}({proof})")
            assert (outcome.rows, outcome.sqlstate) == ([], None)
        assert (await nurse.say("SELECT value FROM access.policy_proof")).sqlstate == DENIED


async def test_that_nobody_denies_is_told_to_policies_only(hospital: Hospital) -> None:
    patient = await hospital.patient()
    async with psql(hospital.settings, hospital.caller("nurse")) as nurse:
        assert (await nurse.say("SELECT DISTINCT patient_id FROM condition")).column == [patient]
        for proof in ("gen_random_uuid()", "NULL"):
            assert not (await nurse.say(f"SELECT access.charts_open({proof})")).value
