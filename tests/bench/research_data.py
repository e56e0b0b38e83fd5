"""The records that `make bench-research` extracts, made by SQL: the same rows for the same number of patients.

On average a patient has 6 encounters, 10 conditions, 5 procedures, 3 orders, 10 administrations and 20 results, and an
inpatient 8 readings of monitors with their rollups; some come often, most seldom. Codes are those of clinosim, which
simulates the demo's patients, procedures of Synthea, and codes that carry a label: few are common, and of a long tail
each is so rare that it points at somebody. Names, numbers, addresses, relatives and remarks are there to be kept out.

No triggers run, so that nothing is audited or told to the feed: what they derive (labels, words of search) is made set
by set. Those of consents run. Copies that workers keep (summaries, series) are not made.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import asyncpg

from tests.bench import research_statements as statements
from tests.bench.scale.beside import STAGE
from tests.bench.scale.bulk import make_indexes, take_indexes
from tests.bench.scale.chart import UNTIL
from tests.bench.scale.load import sessions
from tests.bench.scale.people import HELPERS, NAMES, PLACES, SEARCH

SEED = 6
SIZES = {"seed": SEED, "facilities": 3, "departments": 20, "providers": 120}
"""Numbers of tests.bench.scale; departments and providers are those of each facility."""
PANEL = 8
"""Results of one report, as in the statements."""
FLATNESS_MAX = 8
"""How many codes of a kind are about as common as its first; of short lists a quarter."""

TABLES = (
    "lab_result", "patient", "encounter", "condition", "procedure", "medication_request", "medication_administration",
)  # fmt: skip
REGISTRY = (
    "facility", "department", "provider", "provider_role", "registration", "patient_name", "patient_identifier",
    "patient_search", "patient_word", "name_word", "lab_test", "medication", "consent", "consent_rule",
)  # fmt: skip
"""What is filled besides."""
VITALS = ("vital_sign", "vital_sign_hourly", "vital_sign_daily")
COUNTED = f"SELECT {', '.join(f'(SELECT count(*) FROM clinical.{table}) AS {table}' for table in TABLES)}"
CONCEPT_SIZES = "SELECT kind, count(*) FROM scale.concept GROUP BY kind"

ICD10, SNOMED = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct"
LOINC, RXNORM = "http://loinc.org", "http://www.nlm.nih.gov/research/umls/rxnorm"
LAST = 1000
"""Place of a code that comes after the common ones, in an order of chance."""

COMMON = (
    "I10", "E78.5", "Z00.00", "J06.9", "E11.9", "K21.9", "M54.50", "F41.1", "I25.10", "N39.0", "E66.9", "J45.909",
    "F32.9", "E03.9", "R07.9", "N18.9", "J44.9", "29046", "83367", "6809", "17767", "7646", "10582", "161", "435",
)  # fmt: skip
"""Diagnoses of which most patients have one, the commonest first, and drugs."""

LISTED = {
    "AMB": "185349003 Encounter for check up|185345009 Encounter for symptom|390906007 Follow-up encounter|"
    "162673000 General examination of patient|185347001 Encounter for problem|424441002 Prenatal initial visit",
    "EMER": "50849002 Emergency room admission",
    "IMP": "32485007 Hospital admission",
    "procedure": "428191000124101 Documentation of current medications|430193006 Medication reconciliation|"
    "171207006 Depression screening|23426006 Measurement of respiratory function|73761001 Colonoscopy|"
    "104091002 Hemoglobin, hematocrit and platelet count|117015009 Throat culture|288086009 Suture open wound|"
    "274804006 Evaluation of uterine fundal height|225158009 Auscultation of the fetal heart|117010004 Urine culture|"
    "399208008 Plain chest X-ray|274474001 Bone immobilization|410006001 Digital examination of rectum|"
    "180256009 Subcutaneous immunotherapy|312681000 Bone density scan|74016001 Knee X-ray|60027007 X-ray of wrist|"
    "168594001 Clavicle X-ray|1225002 Upper arm X-ray|127783003 Spirometry|269911007 Sputum examination|"
    "28163009 Skin test for tuberculosis|104375008 Hepatitis C antibody test|252160004 Standard pregnancy test|"
    "47758006 Hepatitis B surface antigen measurement|44608003 Blood typing, RH typing|66348005 Childbirth|"
    "18946005 Epidural anesthesia|85548006 Episiotomy|65200003 Insertion of intrauterine contraceptive device|"
    "415070008 Percutaneous coronary intervention|180325003 Electrical cardioversion|76164006 Biopsy of colon|"
    "18286008 Catheter ablation of tissue of heart|232717009 Coronary artery bypass grafting|"
    "274031008 Rectal polypectomy|43075005 Partial resection of colon|65575008 Biopsy of prostate|"
    "699253003 Surgical manipulation of joint of knee|433112001 Percutaneous mechanical thrombectomy of portal vein|"
    "54550000 Seizure count on electroencephalogram|395142003 Allergy screening test",
}
"""What encounters of a class are for, and what is done (SNOMED CT), the commonest first."""

HOMES = {
    "MA": "02115 Boston|01852 Lowell|01605 Worcester|01880 Wakefield|02139 Cambridge",
    "NH": "03101 Manchester|03060 Nashua|03602 Alstead|03301 Concord|03820 Dover",
    "ME": "04101 Portland|04401 Bangor|04240 Lewiston|04005 Biddeford|04769 Presque Isle",
    "RI": "02903 Providence|02840 Newport|02860 Pawtucket|02886 Warwick|02891 Westerly",
    "CT": "06103 Hartford|06511 New Haven|06604 Bridgeport|06902 Stamford|06360 Norwich",
    "VT": "05401 Burlington|05602 Montpelier|05701 Rutland|05901 Averill|05301 Brattleboro",
    "NY": "10025 New York|11201 Brooklyn|14201 Buffalo|12207 Albany|10282 Battery Park",
    "NJ": "07102 Newark|08608 Trenton|07302 Jersey City|08401 Atlantic City|08901 New Brunswick",
    "PA": "19104 Philadelphia|15213 Pittsburgh|18503 Scranton|17101 Harrisburg|16501 Erie",
    "OH": "44106 Cleveland|43215 Columbus|45202 Cincinnati|43604 Toledo|45402 Dayton",
    "FL": "33130 Miami|32801 Orlando|33602 Tampa|32202 Jacksonville|33901 Fort Myers",
    "CA": "90012 Los Angeles|94103 San Francisco|92101 San Diego|95814 Sacramento|93721 Fresno",
    "TX": "77002 Houston|75201 Dallas|78205 San Antonio|78701 Austin|79901 El Paso",
    "GA": "30303 Atlanta|31401 Savannah|30901 Augusta|31901 Columbus|31201 Macon",
    "MI": "48201 Detroit|49503 Grand Rapids|48104 Ann Arbor|48933 Lansing|49855 Marquette",
    "MN": "55401 Minneapolis|55101 Saint Paul|55802 Duluth|55604 Grand Marais|55901 Rochester",
    "NE": "68102 Omaha|68508 Lincoln|69201 Valentine|68801 Grand Island|69101 North Platte",
    "NM": "87102 Albuquerque|87501 Santa Fe|87801 Socorro|87901 Truth or Consequences|88401 Tucumcari",
    "NV": "89101 Las Vegas|89501 Reno|89301 Ely|89701 Carson City|89801 Elko",
    "WY": "82001 Cheyenne|82601 Casper|82190 Yellowstone National Park|82301 Rawlins|82801 Sheridan",
}
"""ZIP codes of patients by state, the nearest first; some of areas of at most 20,000 people (036, 059, 102, 556, …)."""


async def make(clinical_url: str, vitals_url: str, patients: int) -> None:
    """Fills a migrated, empty clinical and vitals database, as their administrator. Raises what a statement raises."""
    async with sessions(clinical_url, 2) as opened:
        first, second = opened
        indexes = await take_indexes(first, ["clinical"])
        await _stage(first, patients)
        await first.execute(statements.PERSONS + statements.PATIENTS + statements.VISITS)
        await asyncio.gather(
            first.execute(statements.ENCOUNTERS + statements.CONDITIONS + statements.PROCEDURES + SEARCH),
            second.execute(statements.MEDICATIONS + statements.LAB_RESULTS),
        )
        await first.execute(f"SET session_replication_role = origin; {statements.CONSENTS}")
        inpatients = [tuple(row) for row in await first.fetch(statements.INPATIENTS)]
        await first.execute(statements.DROPPED)
        await make_indexes(opened, indexes)
        await asyncio.gather(
            first.execute(_vacuum("clinical", TABLES[:1])), second.execute(_vacuum("clinical", TABLES[1:] + REGISTRY))
        )
    async with sessions(vitals_url, 2) as opened:
        first = opened[0]
        indexes = await take_indexes(first, ["vitals"])
        await first.execute(STAGE.format(seed=SEED))
        await first.copy_records_to_table("visit", schema_name="scale", records=inpatients)
        await first.execute(statements.READINGS + statements.DROPPED)
        await make_indexes(opened, indexes)
        await first.execute(_vacuum("vitals", VITALS))


async def counts(clinical_url: str) -> Mapping[str, int]:
    """Rows of each of TABLES."""
    connection = await asyncpg.connect(clinical_url)
    try:
        return dict(await connection.fetchrow(COUNTED) or {})
    finally:
        await connection.close()


def _vacuum(schema: str, tables: Sequence[str]) -> str:
    """Of a table of partitions the statistics take as long as those of all other tables."""
    return f"VACUUM (ANALYZE) {', '.join(f'{schema}.{table}' for table in tables)}"


async def _stage(connection: asyncpg.Connection, patients: int) -> None:
    """What people and visits are made of: names, places, homes, and concepts, drawn by the number of each kind."""
    for script in (HELPERS, NAMES, PLACES):
        await connection.execute(script.format(**SIZES))
    await connection.execute(statements.STAGED.format(patients=patients, until=UNTIL))
    await connection.copy_records_to_table("listed", schema_name="scale", records=_concepts())
    await connection.copy_records_to_table("home", schema_name="scale", records=_homes())
    await connection.execute(statements.CONCEPTS)
    sizes = {kind: int(size) for kind, size in await connection.fetch(CONCEPT_SIZES)}
    sizes["panel"] = sizes["test"] // PANEL
    flatness = {kind: min(FLATNESS_MAX, size / 4) for kind, size in sizes.items()}
    await connection.execute(statements.DRAWN.format(sizes=_cases(sizes), flatness=_cases(flatness)))


def _cases(numbers: Mapping[str, float]) -> str:
    return " ".join(f"WHEN '{name}' THEN {number}" for name, number in numbers.items())


Concept = tuple[str, int, str, str, str, str | None, float | None, float | None]
"""Kind, place, system, code, display; of a test also its unit (UCUM), and what is low and high."""


def _concepts() -> Iterator[Concept]:
    places = {code: place for place, code in enumerate(COMMON)}
    diagnoses, drugs = _clinosim("codes/data/icd-10-cm.yaml"), _clinosim("codes/data/rxnorm.yaml")
    for code, display in diagnoses.items():
        if not any(other.startswith(code) for other in diagnoses if other != code):
            yield "condition", places.get(code, LAST), ICD10, code, display, None, None, None
    for code, display in drugs.items():
        yield "medication", places.get(code, LAST), RXNORM, code, display, None, None, None
    displays, codes = _clinosim("codes/data/loinc.yaml"), _table("locale/us/code_mapping_lab.yaml")
    usual = _table("locale/us/reference_range_lab.yaml")["ranges"]
    for place, name in enumerate(name for name in usual if name in codes):
        low, high, unit = (usual[name][0][key] for key in ("low", "high", "unit"))
        yield "test", place, LOINC, codes[name], displays[codes[name]], unit, low, high
    for kind, listed in LISTED.items():
        for place, (code, display) in enumerate(_entries(listed)):
            yield kind, place, SNOMED, code, display, None, None, None


def _homes() -> Iterator[tuple[int, str, str, str]]:
    """Place, state, ZIP code, city."""
    homes = ((state, zip_code, city) for state, listed in HOMES.items() for zip_code, city in _entries(listed))
    return ((place, *home) for place, home in enumerate(homes))


def _entries(listed: str) -> Iterator[tuple[str, str]]:
    """A code and its name, of each entry."""
    for entry in listed.split("|"):
        code, _, name = entry.partition(" ")
        yield code, name


def _clinosim(path: str) -> Mapping[str, str]:
    """English names by code, of a code system of the simulator's."""
    return {code: names["en"] for code, names in _table(path)["codes"].items()}


def _table(path: str) -> Any:
    yaml: Any = importlib.import_module("yaml")
    return yaml.safe_load(files("clinosim").joinpath(path).read_text(encoding="utf-8"))
