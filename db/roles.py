"""Roles of PostgreSQL: who owns, who sees, who writes, and one login for each access profile.

Made by every migration run, before the first file, because views and policies name them. Passwords are derived from
CAREGRAPH_SECRET, so a rotated secret takes effect with the next migration.
"""

from __future__ import annotations

from db.caller import Profile
from db.context import role_password

WORKER = "caregraph_worker"
"""Login of the processes that write (import, demo, lifecycle): all facilities, no DDL."""

AUDIT = "caregraph_audit"
"""Login of the API's audit writer: may append events and checkpoints, and read nothing."""

EXPORT = "caregraph_export"
"""Login of the export: may ask for rows before and after changes that the feed has (feed.changes), and nothing else."""

RESEARCH = "caregraph_research"
"""Login of extractions for research: of one project at a time what its approval leaves, and the vault of its ids."""

WRITER = "caregraph_writer"
"""What every writer role is a member of."""

GROUP_ROLES = {
    "caregraph_owner": "NOLOGIN",
    "caregraph_view": "NOLOGIN",
    # Owner of the search function: the one reader that row-level security does not bind; the function does.
    "caregraph_search": "NOLOGIN BYPASSRLS",
    # Whom the policies of writes are about; what each profile may write is granted to its own writer role.
    WRITER: "NOLOGIN",
}
"""Roles that nobody logs in with."""


def ddl(secret: bytes) -> list[str]:
    """Statements that make every role, and give each login its password; safe to run again."""
    logins = [WORKER, AUDIT, EXPORT, RESEARCH, *(f"caregraph_{profile.value}" for profile in Profile)]
    statements = [_create(role, attributes) for role, attributes in GROUP_ROLES.items()]
    for role in logins:
        statements.append(_create(role, "LOGIN"))
        statements.append(f"ALTER ROLE {role} PASSWORD '{role_password(secret, role)}'")
    statements += [f"ALTER ROLE caregraph_{p.value} SET search_path = {p.value}" for p in Profile]
    # A loader's statement names the views of whoever asks; sent by a worker, it finds the tables themselves.
    statements.append(f"ALTER ROLE {WORKER} SET search_path = clinical, imaging, vitals, public")
    statements.append(f"ALTER ROLE {RESEARCH} SET search_path = clinical, imaging, vitals, public")
    for profile in Profile:
        statements.append(_create(writer_of(profile), "NOLOGIN"))
        statements.append(f"GRANT {WRITER} TO {writer_of(profile)}")
        # Taken on in a transaction that writes, and in no other: what a login reads, it reads through its views.
        statements.append(f"GRANT {writer_of(profile)} TO caregraph_{profile.value} WITH INHERIT FALSE, SET TRUE")
    # CREATEROLE without SUPERUSER must be a member of what it acts as.
    statements += [f"GRANT {role} TO CURRENT_USER" for role in GROUP_ROLES]
    return statements


def writer_of(profile: Profile) -> str:
    """Role that a transaction of a profile's login goes on as where it writes."""
    return f"caregraph_{profile.value}_writer"


def _create(role: str, attributes: str) -> str:
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
        f"THEN CREATE ROLE {role} {attributes}; END IF; END $$"
    )
