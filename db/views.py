"""Masked views: for every view of the policy a schema in which each column already has the form that the policy gives.

Made anew by every migration run from `access.column_kind` (declared in the migrations) and db/policy.toml. The loaders'
SQL is the same for all; the search path of the caller's transaction chooses the schema.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.policy import VIEWS, Form, Phi, View

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

ORDERED = ("sort_time", "bucket", "hour")
"""Instants that lists are ordered by: every row keeps one."""

TELECOM_KINDS = (Phi.PHONE, Phi.FAX, Phi.EMAIL)
"""Kinds of a list of ContactPoint, each point by its system (declared BY_SYSTEM)."""
FRAGMENT_KINDS = (Phi.FREE_TEXT, Phi.DATE)
"""Kinds of parts of a clinical FHIR fragment, which as a whole is CLINICAL."""
FRAGMENTS = {"FRAGMENT": "access.mask_fragment", "DETAILS": "access.mask_details"}
"""What masks those parts, by the kind that a column is declared with."""
CONTACT_KINDS = (Phi.NAME, Phi.GEOGRAPHY, *TELECOM_KINDS)
"""Kinds inside Patient.contact (declared CONTACT); without the name nothing of it is shown."""


AGES = {Form.SHOW: "access.age_in_years", Form.YEAR: "access.age_band"}
"""Age of a patient (declared AGE) by the form of dates; a column of the views alone."""

SEARCH = "access.search_patients(text[], text, numeric, uuid, int)"
"""Runs past row-level security, inside the verified facility; only who may read names may search by them."""
SEEDS = "access.scrub_seeds(uuid[])"
"""What the application's scrubber must know; of use only where a view has scrubbed texts."""


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; `kind` is a Phi, NONE, or what says that its parts have kinds of their own.

    Those are BY_KIND (the row's own column `kind`), BY_SYSTEM, CONTACT, FRAGMENT and DETAILS, see above; AGE is made of
    dates.
    """

    table: str
    name: str
    type: str
    kind: str


def view_ddl(schema: str, view: View, columns: Sequence[Column]) -> str:
    """DDL of one schema of masked views over the tables of a database."""
    tables: Mapping[str, list[Column]] = defaultdict(list)
    for column in columns:
        tables[column.table].append(column)
    target, role = view.name, f"caregraph_{view.profile.value}"
    statements = [
        f"DROP SCHEMA IF EXISTS {target} CASCADE",
        f"CREATE SCHEMA {target} AUTHORIZATION caregraph_view",
        "SET LOCAL ROLE caregraph_view",
        *(_view(schema, view, table, listed) for table, listed in tables.items()),
        f"GRANT USAGE ON SCHEMA {target} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {target} TO {role}",
        "RESET ROLE",
    ]
    if schema == "clinical" and view.forms[Phi.NAME] is Form.SHOW:
        statements.append(f"GRANT EXECUTE ON FUNCTION {SEARCH} TO {role}")
    if schema == "clinical" and view.forms[Phi.FREE_TEXT] is Form.SCRUB:
        statements.append(f"GRANT EXECUTE ON FUNCTION {SEEDS} TO {role}")
    return ";\n".join(statements)


def _view(schema: str, view: View, table: str, columns: Sequence[Column]) -> str:
    listed = ",\n    ".join(f'{masked(view, column)} AS "{column.name}"' for column in columns)
    return f'CREATE VIEW {view.name}."{table}" AS SELECT\n    {listed}\nFROM {schema}."{table}"{_where(view, columns)}'


def _where(view: View, columns: Sequence[Column]) -> str:
    """Which rows a view has at all; a profile with several views gets those of its signed purpose only."""
    if any(column.name == "id" and masked(view, column) != '"id"' for column in columns):
        return "\nWHERE false"
    if sum(other.profile is view.profile for other in VIEWS) > 1:
        purposes = ",".join(purpose.value for purpose in view.purposes)
        return f"\nWHERE (SELECT access.purpose()) = ANY ('{{{purposes}}}')"
    return ""


def masked(view: View, column: Column) -> str:
    """SQL expression of a column in a view."""
    name = f'"{column.name}"'
    if column.kind == "NONE":
        return name
    if column.kind == "BY_KIND":
        formed = {kind: _formed(view.forms[kind], column, kind) for kind in IDENTIFIER_KINDS}
        if set(formed.values()) == {_nothing(column)}:
            return _nothing(column)
        cases = " ".join(f"WHEN '{kind.value}' THEN {value}" for kind, value in formed.items())
        return f"CASE kind {cases} END"
    if column.kind == "AGE":
        return f"{AGES[view.forms[Phi.DATE]]}(birth_date::text, deceased, deceased_date_time::text)"
    if column.kind == "BY_SYSTEM":
        return _parts("access.mask_telecom", column, _shown(view, TELECOM_KINDS), TELECOM_KINDS)
    if column.kind == "CONTACT":
        shown = _shown(view, CONTACT_KINDS) if view.forms[Phi.NAME] is Form.SHOW else []
        return _parts("access.mask_contact", column, shown, CONTACT_KINDS)
    if column.kind in FRAGMENTS and view.forms[Phi.CLINICAL] is Form.SHOW:
        hidden = ",".join(kind.value for kind in FRAGMENT_KINDS if view.forms[kind] is not Form.SHOW)
        return f"{FRAGMENTS[column.kind]}({name}, '{{{hidden}}}')" if hidden else name
    kind = Phi.CLINICAL if column.kind in FRAGMENTS else Phi(column.kind)
    return _formed(view.forms[kind], column, kind)


def hides(view: View, column: Column) -> bool:
    """Whether a view shows nothing of a column."""
    return masked(view, column) == _nothing(column)


def _nothing(column: Column) -> str:
    return f"NULL::{column.type}"


def _shown(view: View, kinds: Sequence[Phi]) -> Sequence[Phi]:
    return [kind for kind in kinds if view.forms[kind] is Form.SHOW]


def _parts(function: str, column: Column, shown: Sequence[Phi], kinds: Sequence[Phi]) -> str:
    """Expression of a list whose entries have several kinds, of which some are shown."""
    if not shown:
        return _nothing(column)
    if len(shown) == len(kinds):
        return f'"{column.name}"'
    listed = ",".join(kind.value for kind in shown)
    return f"{function}(\"{column.name}\", '{{{listed}}}')"


def _formed(wanted: Form, column: Column, kind: Phi) -> str:
    """Expression of a form of a column; SCRUB is for the notes store, no database scrubs: here it hides."""
    name = f'"{column.name}"'
    is_text = column.type in ("text", "access.fhir_date", "access.fhir_date_time")
    if wanted is Form.SHOW:
        return name
    if wanted is Form.YEAR and column.name == "birth_date":
        return "access.mask_birth_year(birth_date::text, deceased_date_time::text)"
    if wanted is Form.YEAR and column.type == "timestamp with time zone":
        return f"access.mask_order({name})" if column.name in ORDERED else f"access.mask_instant({name})"
    if wanted is Form.LAST4 and kind is Phi.SSN:
        return f"access.mask_ssn({name})"
    if wanted is Form.INITIAL and column.type == "text[]":
        return f"access.mask_initials({name})"
    if wanted is Form.ZIP3 and column.type == "jsonb":
        return f"access.mask_address({name})"
    if wanted in TEXT_FORMS and is_text:
        return TEXT_FORMS[wanted].format(column=name)
    return _nothing(column)
