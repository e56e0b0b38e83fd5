"""Stage VALIDATE: what a release is, measured on its own files, and whether anybody may see it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from db.research_method import Method
from db.warehouse_release import ReleaseTable
from workers.research.anonymity import SENSITIVE, k_anonymity, l_diversity, risk, t_closeness
from workers.research.job import Job
from workers.research.partition import PATIENTS
from workers.research.plan import HIERARCHY_NAMES, sensitive_of
from workers.research.sources import Sources

CODE = Path(__file__).parent
PLANNED = ("levels", "loss", "rounds", "withheld_diagnoses", "withheld_diagnoses_share")
"""What a report tells of the plan."""
LIBRARIES = ("polars", "opendp", "dicom-anonymizer")


@dataclass(frozen=True, slots=True)
class Validated:
    """Whether a release may be published; its report, digest, and the code that made it."""

    passed: bool
    report: Mapping[str, Any]
    sha256: str
    code_version: str


async def validate(
    sources: Sources,
    job: Job,
    tables: Sequence[ReleaseTable],
    loaded: Mapping[str, int],
    folder: Path,
    rare: Mapping[tuple[str, str], int],
) -> Validated:
    """Measures the files of a release (in `folder`, as they were loaded); `loaded` are the warehouse's own counts.

    Fails where the warehouse has other counts than the files, where anything that identifies was found, and under Safe
    Harbor where k or l is less than the project demands. Raises StoreError.
    """
    made = await sources.jobs.partitions(job)
    patients = pl.read_parquet(folder / f"{PATIENTS}-*.parquet")
    privacy = measured(patients, _conditions(tables, folder))
    findings = [finding for facts in made.values() for finding in facts["findings"]]
    failures = [
        *(["COUNTS_DIFFER"] if any(loaded[table.name] != table.row_count for table in tables) else []),
        *(["IDENTIFIERS_FOUND"] if findings else []),
        *_too_little_privacy(job, privacy),
    ]
    digest = digest_of(tables)
    report = {
        "passed": not failures,
        "failures": failures,
        "method": job.definition.method.value,
        "patients_in": job.plan["patients"],
        "patients_out": patients.height,
        "suppressed_share": round(1 - patients.height / job.plan["patients"], 6),
        **privacy,
        "findings": len(findings),
        "found": findings,
        "plan": {name: _plain(job.plan[name]) for name in PLANNED},
        "withheld_values": [
            {"table": table, "column": column, "values": values} for (table, column), values in sorted(rare.items())
        ],
        "tables": _tables(tables, made, loaded),
        "code_version": code_version(),
        "sha256": digest,
    }
    return Validated(not failures, report, digest, code_version())


def _plain(value: object) -> object:
    """A number of the plan, as JSON is to have it: PostgreSQL's fractions come as Decimal."""
    return float(value) if isinstance(value, Decimal) else value


def measured(patients: pl.DataFrame, conditions: pl.DataFrame | None) -> dict[str, Any]:
    """k, l and t over the quasi-identifiers that the patients table has, and the risk of being recognised by them."""
    known = [name for name in HIERARCHY_NAMES if name in patients.columns]
    found: dict[str, Any] = {"quasi_identifiers": known, "k": k_anonymity(patients, known), "l": None, "t": None}
    if conditions is not None and conditions.height:
        frame = patients.join(sensitive_of(conditions), on="research_id", how="left")
        found |= {"l": l_diversity(frame, known, SENSITIVE), "t": round(t_closeness(frame, known, SENSITIVE), 6)}
    recognised = risk(patients, known)
    return {**found, "risk": recognised.highest, "risk_mean": recognised.mean, "unique_share": recognised.unique}


def _too_little_privacy(job: Job, privacy: Mapping[str, Any]) -> Sequence[str]:
    if job.definition.method is not Method.SAFE_HARBOR:
        return []
    failures = ["K_TOO_SMALL"] if privacy["k"] < job.k else []
    return [*failures, "L_TOO_SMALL"] if privacy["l"] is not None and privacy["l"] < job.l else failures


def _conditions(tables: Sequence[ReleaseTable], folder: Path) -> pl.DataFrame | None:
    if not any(table.name == "conditions" for table in tables):
        return None
    rows = pl.scan_parquet(folder / "conditions-*.parquet").select("research_id", "system", "code")
    return rows.unique().collect()


def _tables(
    tables: Sequence[ReleaseTable], made: Mapping[int, Mapping[str, Any]], loaded: Mapping[str, int]
) -> Sequence[Mapping[str, Any]]:
    """Of each table the rows read, written and loaded, and what became of the values of each column."""
    shown: list[Mapping[str, Any]] = []
    for table in tables:
        parts = [facts["tables"][table.name] for facts in made.values() if table.name in facts["tables"]]
        changes: dict[str, dict[str, Any]] = {}
        for part in parts:
            for column, change in part["changes"].items():
                summed = changes.setdefault(column, {"rule": change["rule"]})
                for name, count in change.items():
                    if name != "rule":
                        summed[name] = summed.get(name, 0) + count
        rows_read = sum(part["read"] for part in parts) if parts else None
        counts = {"read": rows_read, "rows": table.row_count, "loaded": loaded[table.name]}
        shown.append({"name": table.name, **counts, "columns": changes})
    return shown


def digest_of(tables: Sequence[ReleaseTable]) -> str:
    """SHA-256 over the digests of all files of a release, in the order of tables and partitions."""
    lines = [f"{table.name} {file.partition} {file.sha256}\n" for table in tables for file in table.files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def code_version() -> str:
    """Digest of the code of this package, and the versions of what it computes with."""
    digest = hashlib.sha256()
    for path in sorted(CODE.glob("*.py")):
        digest.update(path.read_bytes())
    return " ".join([digest.hexdigest()[:16], *(f"{name} {version(name)}" for name in LIBRARIES)])
