-- What every policy asks, as before (0001, 0004) and cheaper: each table of a statement asks anew. In plpgsql, whose plans
-- are kept for the session, and answered from the verified parts without making a caller of them all.

-- Parts of a signed setting version|…|pid|expiry|hmac, or NULL when it is missing, forged, expired, or was signed for
-- another session: a setting that somebody saw is of no use to them. Where the last part is the HMAC, it is 64 digits long:
-- the rest, without the bar, is what was signed.
CREATE OR REPLACE FUNCTION access.verified(setting text, version text, parts int) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text := current_setting(setting, true);
    part text[] := string_to_array(said, '|');
    pad access.context_key;
BEGIN
    IF cardinality(part) IS DISTINCT FROM parts OR part[1] <> version THEN
        RETURN NULL;
    END IF;
    SELECT * INTO pad FROM access.context_key;
    IF part[parts] IS DISTINCT FROM
            encode(sha256(pad.outer_pad || sha256(pad.inner_pad || convert_to(left(said, -65), 'UTF8'))), 'hex')
        OR to_timestamp(part[parts - 1]::bigint) < clock_timestamp()
        OR part[parts - 2]::int <> pg_backend_pid()
    THEN
        RETURN NULL;
    END IF;
    RETURN part;
END $$;

-- Parts of `app.context` = v2|facility|department|profile|purpose|subject|reach|provider|patient|home facility|labels|lifts|
-- pid|expiry|hmac, or NULL when it does not verify or was signed for another profile than the login role's.
CREATE FUNCTION access.context_parts() RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := access.verified('app.context', 'v2', 15);
BEGIN
    IF part IS NULL OR session_user <> 'caregraph_' || part[4] THEN
        RETURN NULL;
    END IF;
    RETURN part;
END $$;
REVOKE ALL ON FUNCTION access.context_parts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.context_parts() TO caregraph_search;

-- The caller of `app.context`.
CREATE OR REPLACE FUNCTION access.context() RETURNS access.caller
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := access.context_parts();
BEGIN
    IF part IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (part[2]::uuid, nullif(part[3], '')::uuid, part[4], part[5],
        convert_from(decode(rpad(translate(part[6], '-_', '+/'), (length(part[6]) + 3) / 4 * 4, '='), 'base64'), 'UTF8'),
        part[7], nullif(part[8], '')::uuid, nullif(part[9], '')::uuid, nullif(part[10], '')::uuid,
        string_to_array(part[11], '.'), string_to_array(part[12], '.'))::access.caller;
END $$;

CREATE OR REPLACE FUNCTION access.facility_id() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (access.context_parts())[2]::uuid;
END $$;

CREATE OR REPLACE FUNCTION access.purpose() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (access.context_parts())[5];
END $$;

-- Whether this transaction is the application's: a login with a context of its own has no such proof.
CREATE OR REPLACE FUNCTION access.by_application() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN access.verified('app.proof', 'q1', 4) IS NOT NULL;
END $$;

-- Whose records a caller may see, from `app.patients` = p1|reached|denied|pid|expiry|hmac. `reached` is * for everybody's;
-- without the setting nobody's.
CREATE OR REPLACE FUNCTION access.told_all() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (access.verified('app.patients', 'p1', 6))[2] = '*';
END $$;
CREATE OR REPLACE FUNCTION access.told_reached() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reached text := (access.verified('app.patients', 'p1', 6))[2];
BEGIN
    IF reached NOT IN ('', '*') THEN
        RETURN QUERY SELECT one::uuid FROM string_to_table(reached, '.') AS one WHERE one <> '';
    END IF;
END $$;
CREATE OR REPLACE FUNCTION access.told_denied() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    denied text := (access.verified('app.patients', 'p1', 6))[3];
BEGIN
    IF denied <> '' THEN
        RETURN QUERY SELECT one::uuid FROM string_to_table(denied, '.') AS one WHERE one <> '';
    END IF;
END $$;
