"""Caregraph with masks and audit off: `uvicorn --factory tests.bench.engines.unmasked:create_app`.

The application of graph.app with two things changed. The policy of clinicians shows every kind of PHI, through views
that hand every column out (schema `engines`; they have the masked views' owner, so that row-level security, with its
signed context, reach, consent and labels, is as it was). And nothing witnesses an answer: no event of the audit is
written. Tokens, quota, limits, costs, the (empty) access plan and the access log stay.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast
from unittest.mock import patch

from starlette.applications import Starlette

from db.caller import Profile
from db.policy import POLICY
from graph import app
from graph.trail import Trail
from tests.bench.engines.data import OPEN


def create_app() -> Starlette:
    """The API of this process; settings as usual."""
    views = cast("MutableMapping[Any, Any]", POLICY.views)
    views.update({key: OPEN for key in POLICY.views if key[0] is Profile.CLINICIAN})
    with patch.object(Trail, "witness", None):
        return app.create_app()
