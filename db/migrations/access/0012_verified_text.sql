-- What every policy asks, as before (0011) and cheaper: what was verified is handed on as the text that was signed, of which
-- one part is taken. An array is taken apart and put together again at every function that it goes through.

-- A signed setting version|…|pid|expiry|hmac, or NULL when it is missing, forged, expired, or was signed for another session:
-- a setting that somebody saw is of no use to them. A context, v2, is good for the login of its profile only. The HMAC is of
-- 64 digits: what is before it and its bar was signed.
DROP FUNCTION access.verified(text, text, int);
CREATE FUNCTION access.verified(setting text, version text, parts int) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text := current_setting(setting, true);
    inner_key bytea;
    outer_key bytea;
BEGIN
    SELECT inner_pad, outer_pad INTO inner_key, outer_key FROM access.context_key;
    IF split_part(said, '|', 1) IS DISTINCT FROM version
        OR split_part(said, '|', parts) IS DISTINCT FROM
            encode(sha256(outer_key || sha256(inner_key || convert_to(left(said, -65), 'UTF8'))), 'hex')
        OR to_timestamp(split_part(said, '|', parts - 1)::bigint) < clock_timestamp()
        OR split_part(said, '|', parts - 2)::int <> pg_backend_pid()
        OR version = 'v2' AND session_user <> 'caregraph_' || split_part(said, '|', 4)
    THEN
        RETURN NULL;
    END IF;
    RETURN said;
END $$;
REVOKE ALL ON FUNCTION access.verified(text, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.verified(text, text, int) TO caregraph_search;

-- `app.context` = v2|facility|department|profile|purpose|subject|reach|provider|patient|home facility|labels|lifts|pid|expiry|
-- hmac in its parts, or NULL when it does not verify.
CREATE OR REPLACE FUNCTION access.context_parts() RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN string_to_array(access.verified('app.context', 'v2', 15), '|');
END $$;

CREATE OR REPLACE FUNCTION access.facility_id() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN split_part(access.verified('app.context', 'v2', 15), '|', 2)::uuid;
END $$;

CREATE OR REPLACE FUNCTION access.purpose() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN split_part(access.verified('app.context', 'v2', 15), '|', 5);
END $$;

-- Whose records a caller may see, from `app.patients` = p1|reached|denied|pid|expiry|hmac. `reached` is * for everybody's;
-- without the setting nobody's.
CREATE OR REPLACE FUNCTION access.told_all() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN split_part(access.verified('app.patients', 'p1', 6), '|', 2) = '*';
END $$;
CREATE OR REPLACE FUNCTION access.told_reached() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reached text := split_part(access.verified('app.patients', 'p1', 6), '|', 2);
BEGIN
    IF reached NOT IN ('', '*') THEN
        RETURN QUERY SELECT one::uuid FROM string_to_table(reached, '.') AS one WHERE one <> '';
    END IF;
END $$;
CREATE OR REPLACE FUNCTION access.told_denied() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    denied text := split_part(access.verified('app.patients', 'p1', 6), '|', 3);
BEGIN
    IF denied <> '' THEN
        RETURN QUERY SELECT one::uuid FROM string_to_table(denied, '.') AS one WHERE one <> '';
    END IF;
END $$;

-- Completed years, as before (0005), by a function with a plan that a session keeps: one of SQL that reads a subquery is
-- started anew for each row.
CREATE OR REPLACE FUNCTION access.completed_years(birth text, day text) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known int := least(length(birth), length(day), 10);
BEGIN
    RETURN CASE
        WHEN known < 7 OR left(birth, known) > left(day, known) THEN NULL
        WHEN known = 7 AND substr(birth, 6, 2) = substr(day, 6, 2) THEN NULL
        ELSE left(day, 4)::int - left(birth, 4)::int - (substr(day, 6, known - 5) < substr(birth, 6, known - 5))::int
    END;
END $$;
