-- Which releases of research an event read, or presigned files of: asked for by release, inside a facility, as by subject (0020).

SET ROLE caregraph_owner;
SET search_path = audit, public;

ALTER TABLE event ADD COLUMN releases uuid[];
COMMENT ON COLUMN event.releases IS 'versions of research datasets that were read, or whose files were presigned; NULL where the writer did not know of them yet';
CREATE INDEX event_of_release ON event USING gin (facility_id, releases) WHERE releases <> '{}';

-- As before, and the releases, of events that have them: events without stay as they were hashed.
CREATE OR REPLACE FUNCTION canonical(e event) RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT convert_to((jsonb_build_array(e.seq, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.id, e.kind, e.subject, e.role,
        e.profile, e.purpose, e.facility_id, e.home_facility_id, e.document, e.shown, e.masked, e.patients, e.result, e.grants,
        e.request_id, host(e.client_ip), e.user_agent)
        || CASE WHEN e.releases IS NULL THEN '[]' ELSE jsonb_build_array(e.releases) END)::text, 'UTF8')
$$;

-- As before, and the releases.
RESET ROLE;
DROP FUNCTION access.accesses_of_subject(text, int, timestamptz, timestamptz, timestamptz);
CREATE FUNCTION access.accesses_of_subject(of_subject text, rows_max int, before timestamptz, since timestamptz, until timestamptz)
RETURNS TABLE (id uuid, sort_time timestamptz, kind text, subject text, role text, purpose text, facility_id uuid,
    home_facility_id uuid, shown text[], masked text[], result text, grants uuid[], request_id text, patients uuid[], releases uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.id, e.occurred_at, e.kind, e.subject, e.role, e.purpose, e.facility_id, e.home_facility_id, e.shown,
        e.masked, e.result, e.grants, e.request_id, e.patients, coalesce(e.releases, '{}')
    FROM audit.event AS e
    WHERE e.facility_id = (SELECT c.facility_id FROM access.context() AS c WHERE c.profile = 'privacy_officer')
        AND e.subject = of_subject AND e.occurred_at < before AND e.occurred_at >= since AND e.occurred_at < until
    ORDER BY e.occurred_at DESC
    LIMIT rows_max
$$;

-- All who read a release, or had its files presigned, at the caller's facility, newest first: for its privacy officers only.
CREATE FUNCTION access.accesses_of_release(of_release uuid, rows_max int, before timestamptz, since timestamptz, until timestamptz)
RETURNS TABLE (id uuid, sort_time timestamptz, kind text, subject text, role text, purpose text, facility_id uuid,
    home_facility_id uuid, shown text[], masked text[], result text, grants uuid[], request_id text, patients uuid[], releases uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.id, e.occurred_at, e.kind, e.subject, e.role, e.purpose, e.facility_id, e.home_facility_id, e.shown,
        e.masked, e.result, e.grants, e.request_id, e.patients, e.releases
    FROM audit.event AS e
    WHERE e.facility_id = (SELECT c.facility_id FROM access.context() AS c WHERE c.profile = 'privacy_officer')
        AND e.releases <> '{}' AND e.releases @> ARRAY[of_release]
        AND e.occurred_at < before AND e.occurred_at >= since AND e.occurred_at < until
    ORDER BY e.occurred_at DESC
    LIMIT rows_max
$$;
ALTER FUNCTION access.accesses_of_subject(text, int, timestamptz, timestamptz, timestamptz) OWNER TO caregraph_owner;
ALTER FUNCTION access.accesses_of_release(uuid, int, timestamptz, timestamptz, timestamptz) OWNER TO caregraph_owner;
