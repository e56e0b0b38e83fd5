"""The three hospitals of the demo's network."""

from __future__ import annotations

from workers.network.resource import Facility

FACILITIES = (
    Facility(
        code="RIVERSIDE",
        name="Riverside General Hospital",
        initial="R",
        address={"line": ["1 Mill Street"], "city": "Lowell", "state": "MA", "postalCode": "01852", "country": "US"},
        phone="(555) 010-0100",
        ward="River Wing",
    ),
    Facility(
        code="LAKESIDE",
        name="Lakeside Medical Center",
        initial="L",
        address={
            "line": ["200 Shore Road"],
            "city": "Wakefield",
            "state": "MA",
            "postalCode": "01880",
            "country": "US",
        },
        phone="(555) 010-0200",
        ward="Lake Pavilion",
    ),
    Facility(
        code="HILLTOP",
        name="Hilltop Community Hospital",
        initial="H",
        address={
            "line": ["30 Summit Avenue"],
            "city": "Worcester",
            "state": "MA",
            "postalCode": "01605",
            "country": "US",
        },
        phone="(555) 010-0300",
        ward="Hill House",
    ),
)
"""Patients, departments and providers of each are its own; some patients are registered at two."""
