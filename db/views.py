"""Masked views: for every profile a schema of views in which each column already has the form that the policy gives.

Made anew by every migration run from `access.column_kind` (declared in the migrations) and db/policy.toml. The loaders'
SQL is the same for all profiles; the login role's search path chooses the views.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.caller import Profile
from db.policy import Form, Phi, form

IDENTIFIER_KINDS = (
    Phi.MEDICAL_RECORD_NUMBER,
    Phi.SSN,
    Phi.LICENSE_NUMBER,
    Phi.HEALTH_PLAN_NUMBER,
    Phi.ACCOUNT_NUMBER,
    Phi.OTHER_IDENTIFIER,
)
"""Kinds that a row of patient_identifier names in its own column `kind` (declared BY_KIND)."""

TEXT_FORMS = {
    Form.YEAR: "access.mask_year({column}::text)",
    Form.LAST4: "access.mask_last4({column}::text)",
    Form.INITIAL: "access.mask_initial({column}::text)",
}
"""Masked forms of one text; a form that does not fit a column's type hides it."""

TELECOM_KINDS = (Phi.PHONE, Phi.FAX, Phi.EMAIL)
"""Kinds of a list of ContactPoint, each point by its system (declared BY_SYSTEM)."""
FRAGMENT_KINDS = (Phi.FREE_TEXT, Phi.DATE)
"""Kinds of parts of a clinical FHIR fragment, which as a whole is CLINICAL."""
FRAGMENTS = {"FRAGMENT": "access.mask_fragment", "DETAILS": "access.mask_details"}
"""What masks those parts, by the kind that a column is declared with."""
CONTACT_KINDS = (Phi.NAME, Phi.GEOGRAPHY, *TELECOM_KINDS)
"""Kinds inside Patient.contact (declared CONTACT); without the name nothing of it is shown."""


SEARCH = "access.search_patients(text[], text, numeric, uuid, int)"
"""Runs past row-level security, inside the verified facility; only who may read names may search by them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; `kind` is a Phi, NONE, or what says that its parts have kinds of their own.

    Those are BY_KIND (the row's own column `kind`), BY_SYSTEM, CONTACT, FRAGMENT and DETAILS, see above.
    """

    table: str
    name: str
    type: str
    kind: str


def profile_ddl(schema: str, profile: Profile, columns: Sequence[Column]) -> str:
    """DDL of the masked views of one profile over the tables of a schema."""
    tables: Mapping[str, list[Column]] = defaultdict(list)
    for column in columns:
        tables[column.table].append(column)
    target, role = profile.value, f"caregraph_{profile.value}"
    statements = [
        f"DROP SCHEMA IF EXISTS {target} CASCADE",
        f"CREATE SCHEMA {target} AUTHORIZATION caregraph_view",
        "SET LOCAL ROLE caregraph_view",
        *(_view(schema, target, profile, table, listed) for table, listed in tables.items()),
        f"GRANT USAGE ON SCHEMA {target} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {target} TO {role}",
        "RESET ROLE",
    ]
    if schema == "clinical" and form(profile, Phi.NAME) is Form.SHOW:
        statements.append(f"GRANT EXECUTE ON FUNCTION {SEARCH} TO {role}")
    return ";\n".join(statements)


def _view(schema: str, target: str, profile: Profile, table: str, columns: Sequence[Column]) -> str:
    listed = ",\n    ".join(f'{masked(profile, column)} AS "{column.name}"' for column in columns)
    hidden = any(column.name == "id" and masked(profile, column) != '"id"' for column in columns)
    where = "\nWHERE false" if hidden else ""
    return f'CREATE VIEW {target}."{table}" AS SELECT\n    {listed}\nFROM {schema}."{table}"{where}'


def masked(profile: Profile, column: Column) -> str:
    """SQL expression of a column as a profile sees it."""
    name = f'"{column.name}"'
    if column.kind == "NONE":
        return name
    if column.kind == "BY_KIND":
        cases = " ".join(
            f"WHEN '{kind.value}' THEN {_formed(form(profile, kind), column)}" for kind in IDENTIFIER_KINDS
        )
        return f"CASE kind {cases} END"
    if column.kind == "BY_SYSTEM":
        return _parts("access.mask_telecom", column, _shown(profile, TELECOM_KINDS), TELECOM_KINDS)
    if column.kind == "CONTACT":
        shown = _shown(profile, CONTACT_KINDS) if form(profile, Phi.NAME) is Form.SHOW else []
        return _parts("access.mask_contact", column, shown, CONTACT_KINDS)
    if column.kind in FRAGMENTS and form(profile, Phi.CLINICAL) is Form.SHOW:
        hidden = ",".join(kind.value for kind in FRAGMENT_KINDS if form(profile, kind) is not Form.SHOW)
        return f"{FRAGMENTS[column.kind]}({name}, '{{{hidden}}}')" if hidden else name
    return _formed(form(profile, Phi.CLINICAL if column.kind in FRAGMENTS else Phi(column.kind)), column)


def _shown(profile: Profile, kinds: Sequence[Phi]) -> Sequence[Phi]:
    return [kind for kind in kinds if form(profile, kind) is Form.SHOW]


def _parts(function: str, column: Column, shown: Sequence[Phi], kinds: Sequence[Phi]) -> str:
    """Expression of a list whose entries have several kinds, of which some are shown."""
    if not shown:
        return f"NULL::{column.type}"
    if len(shown) == len(kinds):
        return f'"{column.name}"'
    listed = ",".join(kind.value for kind in shown)
    return f"{function}(\"{column.name}\", '{{{listed}}}')"


def _formed(wanted: Form, column: Column) -> str:
    name = f'"{column.name}"'
    is_text = column.type in ("text", "access.fhir_date", "access.fhir_date_time")
    if wanted is Form.SHOW:
        return name
    if wanted is Form.YEAR and column.name == "birth_date":
        return "access.mask_birth_year(birth_date::text, deceased_date_time::text)"
    if wanted is Form.YEAR and column.type == "timestamp with time zone":
        return f"date_trunc('year', {name}, 'UTC')"
    if wanted is Form.ZIP3 and column.type == "jsonb":
        return f"access.mask_address({name})"
    if wanted in TEXT_FORMS and is_text:
        return TEXT_FORMS[wanted].format(column=name)
    return f"NULL::{column.type}"
