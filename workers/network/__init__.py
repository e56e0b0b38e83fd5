"""The demo's hospital network: what clinosim simulates, repaired, and what it does not, as FHIR R4 resources."""
