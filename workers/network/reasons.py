"""Why patients of the demo are in hospital: diagnoses that fit their chronic conditions, and what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drug:
    """An order: RxNorm code and name of the ingredient, and how it is given."""

    code: str
    name: str
    dosage: str


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for admission."""

    chronic: Sequence[str]
    """Beginnings of the ICD-10-CM codes of chronic conditions that it follows from."""
    code: str
    display: str
    ward: str
    """clinosim's number of the ward."""
    complaint: str
    plan: str
    goal: str
    activities: Sequence[str]
    drugs: Sequence[Drug]
    heart_rate: int
    """Typical, per minute, on admission; likewise the others."""
    systolic: int
    respiratory_rate: int
    saturation: int


REASONS = (
    Reason(
        ("J44", "J45"), "J44.1", "Chronic obstructive pulmonary disease with (acute) exacerbation", "4E",
        "Three days of worsening breathlessness and wheeze with more sputum than usual.",
        "Nebulised bronchodilator, systemic corticosteroid, oxygen to a saturation of 88 to 92 %.",
        "Saturation stays at 90 % or above on room air",
        ("Inhaler technique education", "Chest physiotherapy", "Smoking cessation counselling"),
        (Drug("435", "albuterol", "2.5 mg nebulised every 4 hours"),
         Drug("8640", "prednisone", "40 mg by mouth once daily")),
        98, 138, 24, 91,
    ),
    Reason(
        ("I25", "I21"), "I50.23", "Acute on chronic systolic (congestive) heart failure", "5E",
        "Increasing leg swelling, orthopnea and a weight gain of 4 kg within a week.",
        "Intravenous loop diuretic with daily weights and electrolytes, fluid restriction, telemetry.",
        "Body weight falls by 1 kg a day to the dry weight",
        ("Daily weight", "Low-sodium diet education", "Telemetry"),
        (Drug("4603", "furosemide", "40 mg intravenously twice daily"),
         Drug("20352", "carvedilol", "6.25 mg by mouth twice daily")),
        92, 148, 22, 93,
    ),
    Reason(
        ("N18",), "N17.9", "Acute kidney failure, unspecified", "4W",
        "Poor intake and vomiting for four days, little urine since yesterday.",
        "Isotonic fluid, nephrotoxic drugs held, urine output every hour, creatinine every morning.",
        "Creatinine returns to its baseline",
        ("Strict intake and output", "Renal diet", "Medication review by pharmacy"),
        (Drug("9863", "sodium chloride", "0.9 % 100 mL per hour intravenously"),),
        88, 118, 18, 96,
    ),
    Reason(
        ("E11",), "E11.65", "Type 2 diabetes mellitus with hyperglycemia", "4W",
        "Thirst, frequent urination and blurred vision; glucose above 400 mg/dL at home.",
        "Basal and correction insulin, fluids, glucose before meals and at bedtime.",
        "Fasting glucose between 100 and 180 mg/dL",
        ("Glucose self-monitoring education", "Dietitian consult", "Foot examination"),
        (Drug("274783", "insulin glargine", "18 units under the skin at bedtime"),),
        94, 128, 17, 97,
    ),
    Reason(
        ("M17",), "M17.11", "Unilateral primary osteoarthritis, right knee", "3W",
        "Elective right total knee replacement after conservative treatment failed.",
        "Early mobilisation, multimodal analgesia, prevention of venous thromboembolism.",
        "Walks 50 m with a walker without help",
        ("Physical therapy twice daily", "Wound check", "Fall prevention"),
        (Drug("161", "acetaminophen", "1 g by mouth every 8 hours"),
         Drug("67108", "enoxaparin", "40 mg under the skin once daily")),
        84, 132, 16, 97,
    ),
    Reason(
        (), "J18.9", "Pneumonia, unspecified organism", "4E",
        "Fever, productive cough and pain on breathing in for two days.",
        "Antibiotics after cultures, oxygen as needed, change to oral treatment when afebrile for 24 hours.",
        "Temperature below 37.8 °C for 24 hours without antipyretics",
        ("Incentive spirometry", "Early mobilisation"),
        (Drug("2193", "ceftriaxone", "2 g intravenously once daily"),
         Drug("18631", "azithromycin", "500 mg by mouth once daily")),
        102, 122, 22, 93,
    ),
    Reason(
        ("I10",), "I16.0", "Hypertensive urgency", "5E",
        "Severe headache since the morning; blood pressure at home above 200 mmHg.",
        "Oral antihypertensives, blood pressure lowered by a quarter within a day, telemetry.",
        "Systolic blood pressure below 160 mmHg without symptoms",
        ("Low-sodium diet education", "Medication adherence counselling"),
        (Drug("6185", "labetalol", "200 mg by mouth twice daily"),
         Drug("17767", "amlodipine", "10 mg by mouth once daily")),
        88, 184, 17, 97,
    ),
    Reason(
        (), "L03.115", "Cellulitis of right lower limb", "4W",
        "Spreading redness, warmth and pain of the right lower leg for three days.",
        "Intravenous antibiotic, leg raised, margin of the redness marked every day.",
        "Redness recedes from the marked margin",
        ("Wound check", "Leg elevation"),
        (Drug("2180", "cefazolin", "2 g intravenously every 8 hours"),),
        96, 126, 16, 97,
    ),
    Reason(
        (), "K35.80", "Unspecified acute appendicitis", "3E",
        "Pain that moved from the navel to the right lower abdomen within a day, nausea.",
        "Laparoscopic removal done, antibiotics for 24 hours, diet as tolerated.",
        "Eats a normal diet and walks without help",
        ("Wound check", "Early mobilisation"),
        (Drug("161", "acetaminophen", "1 g by mouth every 8 hours"),
         Drug("2193", "ceftriaxone", "2 g intravenously once daily")),
        100, 124, 18, 98,
    ),
    Reason(
        (), "K92.2", "Gastrointestinal hemorrhage, unspecified", "5W",
        "Black stools for two days and dizziness on standing.",
        "Proton pump inhibitor infusion, blood count every 8 hours, endoscopy.",
        "Hemoglobin stays above 8 g/dL without transfusion",
        ("Endoscopy", "Orthostatic vital signs"),
        (Drug("40790", "pantoprazole", "40 mg intravenously twice daily"),),
        108, 104, 18, 97,
    ),
)  # fmt: skip
"""Those without chronic conditions fit everybody."""


def reasons_for(codes: Sequence[str]) -> Sequence[Reason]:
    """Reasons for admission that fit a patient with these chronic conditions (ICD-10-CM)."""
    return [item for item in REASONS if not item.chronic or any(code.startswith(tuple(item.chronic)) for code in codes)]
