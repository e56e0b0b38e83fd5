"""A small hand-labelled set: texts as clinicians write them, each with what identifies somebody and must go.

The people are invented. None of them is known to the scrubber beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

LABELLED: Sequence[tuple[str, Sequence[str]]] = [
    (
        "Mr. Tremblay presented on 03/14/2021 with chest pain. Wife Shaniqua drove him.",
        ["Tremblay", "03/14/2021", "Shaniqua"],
    ),
    (
        "Pt is a 93 y/o woman, lives with her daughter Beatrix in Walla Walla, WA 99362.",
        ["93", "Beatrix", "Walla", "99362"],
    ),
    ("Discussed w/ Dr Okonkwo-Reyes, pager 617-555-0199, who agrees.", ["Okonkwo", "Reyes", "617-555-0199"]),
    ("Call daughter (Thandiwe Mbeki) at (415) 555-2671 ext 12 w/ results.", ["Thandiwe", "Mbeki", "555-2671"]),
    ("MRN: 4483920. Acct # 99-2210-7. DOB 7/4/1938.", ["4483920", "99-2210-7", "7/4/1938"]),
    ("john smith came in today, no acute distress.", ["john", "smith"]),
    ("Transferred from Mercy General Hospital on Tuesday, Jan 5th.", ["Mercy", "Tuesday", "Jan 5th"]),
    (
        "E-mail: t.nguyen@clinic.example; portal https://portal.example/p/8812?x=1",
        ["t.nguyen", "portal.example", "8812"],
    ),
    ("Works at Boeing in Everett as a machinist. Retired May 2011.", ["Boeing", "Everett", "May 2011"]),
    ("Her neighbour, Rose, found her on the floor. Will was not at home.", ["Rose"]),
    ("Address: 4471 Old Mill Road Apt 3B, Poughkeepsie NY 12601.", ["4471", "Old Mill", "3B", "Poughkeepsie", "12601"]),
    ("Seen 12-Feb-2020, f/u 2/26. Next appt March 9.", ["12-Feb-2020", "2/26", "March 9"]),
    ("SSN 078-05-1120 on file; insurance Aetna, policy W1234567.", ["078-05-1120", "Aetna", "W1234567"]),
    ("The patient's mother, aged 97, died in 1931 or so.", ["97", "1931"]),
    ("Pacemaker serial no. PJN4482211 interrogated. IP 192.168.4.17 logged.", ["PJN4482211", "192.168.4.17"]),
    ("Signed electronically by Xiomara Quispe, RN at 14:05.", ["Xiomara", "Quispe"]),
    ("He turned 90 last Christmas; in his nineties he still drives.", ["90 last", "Christmas", "nineties"]),
    ("Sister Agnieszka Wiśniewska, tel. +48 22 555 01 23, is next of kin.", ["Agnieszka", "Wiśniewska", "555 01 23"]),
    ("Mother's maiden name D'Angelo; O'Shaughnessy is the surname now.", ["Angelo", "Shaughnessy"]),
    ("Moved here from Ulaanbaatar in 2019-06. Speaks Mongolian.", ["Ulaanbaatar", "2019-06"]),
    ("Emergency contact: Li, 555-0147.", ["Li,", "555-0147"]),
    ('Patient known as "Skip" Dzhugashvili to friends.', ["Dzhugashvili"]),
    ("Driver's license S514-778-616-02, plate unknown.", ["S514-778-616-02"]),
    ("Admitted 2020-11-03T14:22:00-05:00, discharged 2020-11-09.", ["2020-11-03", "2020-11-09"]),
    ("Referred by Grace Park. Jordan (son) agrees.", ["Grace", "Park", "Jordan"]),
    ("Rose came along and answered for her.", ["Rose"]),
    ("lives in boston with may and grace", ["boston", "may", "grace"]),
    ("Plays for the mayor of a town of 300 near the salt lake.", ["mayor"]),
]

WORDS_KEPT: Sequence[tuple[str, Sequence[str]]] = [
    (
        "Metoprolol 25 mg twice daily was started for hypertension; BP 142/88, HR 71.",
        ["Metoprolol 25 mg", "hypertension", "142/88", "71"],
    ),
    (
        "HbA1c 7.1 %, creatinine 1.02 mg/dL, eGFR 88. Platelets 250000.",
        ["HbA1c 7.1", "creatinine 1.02", "eGFR 88", "250000"],
    ),
    (
        "Echo: EF 55 %, mild mitral regurgitation. No pericardial effusion.",
        ["EF 55", "mitral regurgitation", "pericardial effusion"],
    ),
    ("Acute sinusitis in a 34 year-old woman, resolved in 2015.", ["Acute sinusitis", "34 year-old", "2015"]),
    (
        "MRI of the lumbar spine: L4/L5 disc herniation. Pain 7 of 10.",
        ["MRI", "lumbar spine", "disc herniation", "7 of 10"],
    ),
    (
        "Amoxicillin / clavulanate 875 mg q12h for 7 days, then review.",
        ["Amoxicillin", "clavulanate 875 mg", "q12h", "7 days"],
    ),
    (
        "# Assessment and Plan\nType 2 diabetes mellitus without complication.",
        ["# Assessment and Plan", "Type 2 diabetes mellitus"],
    ),
    ("COVID-19 PCR negative; influenza A positive. SpO2 97 % on room air.", ["COVID-19", "influenza A", "SpO2 97"]),
    ("Parkinson's disease, Crohn's disease and Down syndrome were ruled out.", ["disease", "ruled out"]),
    ("Patient will rest; he may take ibuprofen 400 mg as needed.", ["will rest", "may take ibuprofen 400 mg"]),
]
