-- The context of a caller, now with reach, relationship, labels, and bound to one PostgreSQL session; and what the
-- databases beside the clinical one are told: whose records the caller may see.

ALTER TYPE access.caller ADD ATTRIBUTE reach text, ADD ATTRIBUTE provider_id uuid, ADD ATTRIBUTE patient_id uuid,
    ADD ATTRIBUTE home_facility_id uuid, ADD ATTRIBUTE labels text[], ADD ATTRIBUTE lifts text[];

-- Parts of a signed setting version|…|pid|expiry|hmac, or NULL when it is missing, forged, expired, or was signed for
-- another session: a setting that somebody saw is of no use to them.
CREATE FUNCTION access.verified(setting text, version text, parts int) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := string_to_array(current_setting(setting, true), '|');
    pad access.context_key;
    mac bytea;
BEGIN
    IF cardinality(part) IS DISTINCT FROM parts OR part[1] <> version OR part[parts] !~ '^[0-9a-f]{64}$' THEN
        RETURN NULL;
    END IF;
    SELECT * INTO pad FROM access.context_key;
    mac := sha256(pad.outer_pad || sha256(pad.inner_pad || convert_to(array_to_string(part[1:parts - 1], '|'), 'UTF8')));
    IF mac IS DISTINCT FROM decode(part[parts], 'hex')
        OR to_timestamp(part[parts - 1]::bigint) < clock_timestamp()
        OR part[parts - 2]::int <> pg_backend_pid()
    THEN
        RETURN NULL;
    END IF;
    RETURN part;
END $$;
REVOKE ALL ON FUNCTION access.verified(text, text, int) FROM PUBLIC;

-- The caller of `app.context` = v2|facility|department|profile|purpose|subject|reach|provider|patient|home facility|labels|
-- lifts|pid|expiry|hmac, or NULL when it does not verify or was signed for another profile than the login role's.
CREATE OR REPLACE FUNCTION access.context() RETURNS access.caller
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := access.verified('app.context', 'v2', 15);
BEGIN
    IF part IS NULL OR session_user <> 'caregraph_' || part[4] THEN
        RETURN NULL;
    END IF;
    RETURN (part[2]::uuid, nullif(part[3], '')::uuid, part[4], part[5],
        convert_from(decode(rpad(translate(part[6], '-_', '+/'), (length(part[6]) + 3) / 4 * 4, '='), 'base64'), 'UTF8'),
        part[7], nullif(part[8], '')::uuid, nullif(part[9], '')::uuid, nullif(part[10], '')::uuid,
        string_to_array(part[11], '.'), string_to_array(part[12], '.'))::access.caller;
END $$;

-- Whether this transaction is the application's: a login with a context of its own has no such proof.
CREATE FUNCTION access.by_application() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.verified('app.proof', 'q1', 4) IS NOT NULL
$$;

CREATE FUNCTION access.purpose() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT (access.context()).purpose $$;

-- Whose records a caller may see, from `app.patients` = p1|reached|denied|pid|expiry|hmac. `reached` is * for everybody's;
-- without the setting nobody's.
CREATE FUNCTION access.told_all() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (access.verified('app.patients', 'p1', 6))[2] = '*'
$$;
CREATE FUNCTION access.told_reached() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT one::uuid
    FROM string_to_table(nullif((access.verified('app.patients', 'p1', 6))[2], '*'), '.') AS one
    WHERE one <> ''
$$;
CREATE FUNCTION access.told_denied() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT one::uuid FROM string_to_table((access.verified('app.patients', 'p1', 6))[3], '.') AS one WHERE one <> ''
$$;

-- Replaces the facility policy of a table by one that also asks whose records the caller may see. `visible` is a
-- condition on the table's row; sets that it names are made once for each statement.
CREATE FUNCTION access.guard_more(guarded regclass, visible text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER POLICY facility ON %s USING (%s)', guarded, visible);
END $$;

-- The same for a table of a database beside the clinical one, by its column patient_id.
CREATE FUNCTION access.guard_told(guarded regclass) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.guard_more(guarded, 'facility_id = (SELECT access.facility_id())
        AND ((SELECT access.told_all()) OR patient_id IN (SELECT access.told_reached()))
        AND patient_id NOT IN (SELECT access.told_denied())')
$$;
REVOKE ALL ON FUNCTION access.guard_more(regclass, text), access.guard_told(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.guard_more(regclass, text), access.guard_told(regclass) TO caregraph_owner;
