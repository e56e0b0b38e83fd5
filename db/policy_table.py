"""The policy as tables that a privacy officer reads; `python -m db.policy_table` prints docs/policy.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from db.caller import Profile, Reach, Role
from db.policy import LABELS, ROLES, VIEWS, Form, Phi

KINDS = {
    Phi.NAME: "Names of the patient and of relatives",
    Phi.GEOGRAPHY: "Address: street, city, county, postal code",
    Phi.DATE: "Dates but the year; ages over 89",
    Phi.PHONE: "Telephone numbers",
    Phi.FAX: "Fax numbers",
    Phi.EMAIL: "E-mail addresses",
    Phi.SSN: "Social security number",
    Phi.MEDICAL_RECORD_NUMBER: "Medical record number",
    Phi.HEALTH_PLAN_NUMBER: "Health plan beneficiary number",
    Phi.ACCOUNT_NUMBER: "Account number",
    Phi.LICENSE_NUMBER: "Certificate and licence numbers",
    Phi.VEHICLE: "Vehicle identifiers",
    Phi.DEVICE: "Device identifiers and serial numbers",
    Phi.URL: "Web addresses, also of images",
    Phi.IP_ADDRESS: "Internet addresses",
    Phi.BIOMETRIC: "Biometric identifiers",
    Phi.PHOTO: "Full-face photographs",
    Phi.OTHER_IDENTIFIER: "Any other unique number or code",
    Phi.FREE_TEXT: "Free text: notes and remarks",
    Phi.CLINICAL: "Clinical facts",
}
"""What each kind is, in the words of 45 CFR 164.514(b)(2) where it has any."""

FORMS = {
    Form.SHOW: ("shown", "the value"),
    Form.YEAR: (
        "year",
        "the year of a date, none from which an age over 89 follows; an age as a band of five years such as `40-44`, "
        "`90+` from 90 on",
    ),
    Form.LAST4: ("last 4", "`***1234`; of a social security number `***-**-1234`"),
    Form.INITIAL: ("initial", "`J.`"),
    Form.ZIP3: ("ZIP3", "the state and `021**`, or `000**` where no more than 20,000 people share the three digits"),
    Form.SCRUB: (
        "scrubbed",
        "clinical notes with `[NAME]`, `[DATE]`, `[ID]` … in place of identifiers, labelled as scrubbed, not Safe "
        "Harbor by itself; any other free text is not shown",
    ),
    Form.HIDE: ("–", "nothing"),
}
"""Word of each form in the table, and what it stands for."""

REACHES = {
    Reach.FACILITY: "every patient of the facility",
    Reach.DEPARTMENT: "patients of the caller's department",
    Reach.RELATIONSHIP: "patients whom the caller treats",
    Reach.EXCHANGE: "patients who let another facility see their records",
}
"""Whose charts, in words."""

HEAD = """# Who sees what

Made from `db/policy.toml` by `python -m db.policy_table`; do not edit. The same file makes the masked views of
PostgreSQL, the projections of the notes store, and the plan of every GraphQL operation. What a profile is not given in
this table it does not get: neither the value, nor a filter, search, order or count by it.
"""


def markdown() -> str:
    """The whole document."""
    parts = [HEAD, *_forms(), *_kinds(), *_roles(), *_labels()]
    return "\n".join(parts)


def _forms() -> Iterable[str]:
    yield "## Forms\n"
    yield from _table(["in the table", "what is given"], [FORMS[form] for form in Form])


def _kinds() -> Iterable[str]:
    yield "## Profiles and kinds of information\n"
    titles = [f"{view.profile.value} ({', '.join(purpose.value for purpose in view.purposes)})" for view in VIEWS]
    yield "Purposes of use are those of HL7 v3-PurposeOfUse; a request for any other purpose is refused.\n"
    rows = [[KINDS[kind], *(FORMS[view.forms[kind]][0] for view in VIEWS)] for kind in Phi]
    yield from _table(["", *titles], rows)


def _roles() -> Iterable[str]:
    yield "## Roles, whose charts they reach, and sensitive information\n"
    rows = [
        [name, role.profile.value, _reach(role), _listed(role.labels), _listed(role.lifts)]
        for name, role in ROLES.items()
    ]
    yield from _table(["role", "profile", "charts of", "labels seen", "labels that break-glass lifts"], rows)
    unused = sorted(profile.value for profile in Profile if profile not in {role.profile for role in ROLES.values()})
    if unused:
        yield f"No role has the profile {', '.join(unused)}.\n"


def _labels() -> Iterable[str]:
    yield "## Labels\n"
    yield "A row is shown to who may see every label of it.\n"
    yield from _table(["label", "stands for"], list(LABELS.items()))


def _reach(role: Role) -> str:
    return "the caller alone" if role.profile is Profile.PATIENT else REACHES[role.reach]


def _listed(labels: frozenset[str]) -> str:
    return ", ".join(sorted(labels)) or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    for row in [head, ["---"] * len(head), *rows]:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    print(markdown(), end="")
