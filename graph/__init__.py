"""What a client sees: types, descriptions, PHI kinds, schema, limits, errors, the ASGI app."""
