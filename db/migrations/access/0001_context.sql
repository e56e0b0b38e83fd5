-- Signed tenant context and declared PHI kinds: the same in the clinical, imaging and vitals databases (design 4 and 5).
-- Run by the administrator; roles are made by db/roles.py before this file.

CREATE SCHEMA access AUTHORIZATION caregraph_owner;
GRANT USAGE ON SCHEMA access TO PUBLIC;

-- One row: the padded HMAC keys (RFC 2104), so that the core's sha256 is enough. Nobody but the verifying function reads it.
CREATE TABLE access.context_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);
REVOKE ALL ON access.context_key FROM PUBLIC;

CREATE TYPE access.caller AS (facility_id uuid, department_id uuid, profile text, purpose text, subject text);

-- The caller of `app.context` = v1|facility|department|profile|purpose|subject|expiry|hmac, or NULL when it is missing,
-- forged, expired, or signed for another profile than the login role's. NULL compares to nothing: no row is visible.
CREATE FUNCTION access.context() RETURNS access.caller
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := string_to_array(current_setting('app.context', true), '|');
    pad access.context_key;
    mac bytea;
BEGIN
    IF cardinality(part) IS DISTINCT FROM 8 OR part[1] <> 'v1' OR part[8] !~ '^[0-9a-f]{64}$' THEN
        RETURN NULL;
    END IF;
    SELECT * INTO pad FROM access.context_key;
    mac := sha256(pad.outer_pad || sha256(pad.inner_pad || convert_to(array_to_string(part[1:7], '|'), 'UTF8')));
    IF mac IS DISTINCT FROM decode(part[8], 'hex')
        OR to_timestamp(part[7]::bigint) < clock_timestamp()
        OR session_user <> 'caregraph_' || part[4]
    THEN
        RETURN NULL;
    END IF;
    RETURN (part[2]::uuid, nullif(part[3], '')::uuid, part[4], part[5], part[6])::access.caller;
END $$;

CREATE FUNCTION access.facility_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT (access.context()).facility_id $$;

-- PHI kind of every column of every table that profiles see through masked views. A column that is not declared here
-- is in no view: undeclared means hidden.
CREATE TABLE access.column_kind (
    table_name text NOT NULL,
    column_name text NOT NULL,
    kind text NOT NULL,
    position int NOT NULL,
    PRIMARY KEY (table_name, column_name)
);

-- Declares the kinds of a table: access.declare('patient', 'id NONE, birth_date DATE, …'). The kind of `id` is the kind of
-- the row's existence: who may not see it sees no row.
CREATE FUNCTION access.declare(declared_table text, kinds text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO access.column_kind (table_name, column_name, kind, position)
    SELECT declared_table, split_part(btrim(entry), ' ', 1), split_part(btrim(entry), ' ', 2), ordinality
    FROM regexp_split_to_table(btrim(kinds, E' \n,'), '\s*,\s*') WITH ORDINALITY AS listed (entry, ordinality)
    ON CONFLICT (table_name, column_name) DO UPDATE SET kind = excluded.kind, position = excluded.position
$$;

-- Enables and forces row-level security: the views' owner sees the caller's facility, the workers' role sees all.
CREATE FUNCTION access.guard(guarded regclass, visible text DEFAULT 'facility_id = (SELECT access.facility_id())') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', guarded);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', guarded);
    EXECUTE format('CREATE POLICY facility ON %s FOR SELECT TO caregraph_view USING (%s)', guarded, visible);
    EXECUTE format('CREATE POLICY worker ON %s TO caregraph_worker USING (true) WITH CHECK (true)', guarded);
    EXECUTE format('GRANT SELECT ON %s TO caregraph_view', guarded);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO caregraph_worker', guarded);
END $$;

ALTER TABLE access.column_kind OWNER TO caregraph_owner;
GRANT SELECT ON access.column_kind TO caregraph_worker;
ALTER FUNCTION access.declare(text, text) OWNER TO caregraph_owner;
REVOKE ALL ON FUNCTION access.declare(text, text), access.guard(regclass, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.declare(text, text), access.guard(regclass, text) TO caregraph_owner;

-- FHIR R4 dateTime: an instant with its offset, or a date of year, month or day precision. Kept as it was written, because
-- its precision and offset are clinical facts; order and ranges use the instants beside it.
CREATE DOMAIN access.fhir_date_time AS text
    CHECK (VALUE ~ '^\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?)?)?$');
CREATE DOMAIN access.fhir_date AS text CHECK (VALUE ~ '^\d{4}(-\d\d(-\d\d)?)?$');

-- Masked forms (see db/policy.toml): none of them can be mistaken for a value.
CREATE FUNCTION access.mask_year(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT left(value, 4) $$;

CREATE FUNCTION access.mask_last4(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN length(value) > 7 THEN '***' || right(value, 4) WHEN value IS NOT NULL THEN '***' END
$$;

CREATE FUNCTION access.mask_initial(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT left(value, 1) || '.' $$;

-- 45 CFR 164.514(b)(2)(i)(C): no year from which an age over 89 follows, alive today or at death.
CREATE FUNCTION access.mask_birth_year(birth text, deceased text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(left(deceased, 4)::int, extract(year FROM now())::int) - left(birth, 4)::int < 90
           THEN left(birth, 4) END
$$;
