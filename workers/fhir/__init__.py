"""FHIR R4 resources as they come from files, turned into rows of the stores."""
