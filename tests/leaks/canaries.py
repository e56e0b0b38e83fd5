"""Values that occur nowhere else: one for each kind of protected health information, and where each may show."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from db.policy import Form, Phi, View

DAY = "1961-07-23"
INSTANT = datetime(1961, 7, 23, 5, 17, tzinfo=UTC)
NUMBER = Decimal("1773109284.25")
"""As long as an Int of GraphQL can be: a shorter one would occur in digests and ids by chance."""
POSTAL_CODE = "02139-7731"
SSN = "911-61-7723"
NOTE = "Zq7NOTE"
"""Word of clinical notes that identifies nobody, so that scrubbing leaves it."""
TEXT: Mapping[Phi, str] = {kind: f"Zq7{kind.value}" for kind in Phi} | {
    Phi.SSN: SSN,
    Phi.PHONE: "(617) 555-9173",
    Phi.LICENSE_NUMBER: "Zq7LICENSE_NUMBER8812",
    Phi.EMAIL: "Zq7EMAIL@example.org",
    Phi.DATE: DAY,
}
"""Text of each kind, as a store holds it."""
SIGNS: Mapping[Phi, Sequence[str]] = {kind: [f"Zq7{kind.value}"] for kind in Phi} | {
    Phi.SSN: ["911-61-"],
    Phi.PHONE: ["555-9173"],
    Phi.DATE: ["1961-07-", '"1961-07"'],
    Phi.GEOGRAPHY: ["Zq7GEOGRAPHY", "02139-77", '"02139'],
    Phi.CLINICAL: ["Zq7CLINICAL", "1773109284", "c11c11c1-"],
    Phi.FREE_TEXT: ["Zq7FREE_TEXT", NOTE],
}
"""What of a kind no masked form shows: not a year, the last four of a number, or three digits of a postal code."""
NOTE_TEXT = (
    f"The patient reports {NOTE} and pain in the left knee. {TEXT[Phi.NAME]} was seen on {DAY} with her mother, "
    f"MRN {TEXT[Phi.MEDICAL_RECORD_NUMBER]}, SSN {SSN}, phone {TEXT[Phi.PHONE]}, and lives in {TEXT[Phi.GEOGRAPHY]}."
)
_ENCODED = re.compile(r"[A-Za-z0-9_-]{24,}")


def clinical_id() -> UUID:
    """A new id of a row whose existence is clinical."""
    return UUID(f"c11c11c1-{str(uuid4())[9:]}")


def concept(*, text: bool = True) -> dict[str, Any]:
    """A concept, coding, quantity and range in one: whatever is read of it is clinical."""
    sign = TEXT[Phi.CLINICAL]
    coding = {"system": "http://example.org", "code": sign, "display": sign}
    said = {"text": sign} if text else {}
    return {"coding": [coding], **coding, **said, "value": float(NUMBER), "unit": sign}


def fragment() -> dict[str, Any]:
    """A part of a chart with coded facts, words and days: a dosage, a reaction and a component in one."""
    words, coded = TEXT[Phi.FREE_TEXT], concept()
    return {
        **concept(text=False),
        "text": words,
        "patientInstruction": words,
        "description": words,
        "note": [{"text": words}],
        "valueString": words,
        "onset": DAY,
        "valueDateTime": DAY,
        "timing": {"event": [DAY], "repeat": {"frequency": 2, "boundsPeriod": {"start": DAY}}},
        "route": coded,
        "substance": coded,
        "manifestation": [coded],
        "code": coded,
    }


def details() -> dict[str, Any]:
    """What varies by class of encounter."""
    stay = {"admitSource": concept(), "dischargeDisposition": concept()}
    return {"reason": [concept()], "hospitalization": stay, "participants": [{"period": {"start": DAY}}]}


def telecom() -> list[dict[str, str]]:
    """A way to reach somebody of each system."""
    systems = {"phone": Phi.PHONE, "fax": Phi.FAX, "email": Phi.EMAIL}
    return [{"system": system, "value": TEXT[kind]} for system, kind in systems.items()]


def address() -> dict[str, Any]:
    """An address in a state and three digits of a postal code that many share."""
    place = TEXT[Phi.GEOGRAPHY]
    return {
        "line": [f"7 {place}"],
        "city": place,
        "district": place,
        "text": place,
        "state": "MA",
        "country": "US",
        "postalCode": POSTAL_CODE,
    }


def contact() -> dict[str, Any]:
    """A relative."""
    name = TEXT[Phi.NAME]
    return {"name": {"family": name, "given": [name], "text": name}, "telecom": telecom(), "address": address()}


def decoded(text: str) -> str:
    """A text, and what its cursors and the like say in base64."""
    inside: list[str] = []
    for found in set(_ENCODED.findall(text)):
        raw = base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)) if len(found) % 4 != 1 else b""
        inside.append(raw.decode("utf-8", "replace"))
    return "\n".join([text, *inside])


def signs_in(text: str, kinds: Sequence[Phi] = tuple(Phi)) -> list[str]:
    """Signs of values of these kinds that occur in a text, in capitals or not, also inside its cursors."""
    whole = decoded(text).lower()
    return [sign for kind in kinds for sign in SIGNS[kind] if sign.lower() in whole]


def hidden_in(text: str, view: View) -> list[str]:
    """Signs of values in a text that a view does not show."""
    hidden = [kind for kind in Phi if view.forms[kind] is not Form.SHOW]
    form = view.forms[Phi.FREE_TEXT]
    # Who reads notes reads what their author put into them.
    rest = text.replace(NOTE_TEXT, "") if form is Form.SHOW else text
    return [sign for sign in signs_in(rest, hidden) if form is not Form.SCRUB or sign != NOTE]
