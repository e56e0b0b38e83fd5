"""Free text without the identifiers of the patient it is about; not Safe Harbor by itself (45 CFR 164.514(b)(2))."""
