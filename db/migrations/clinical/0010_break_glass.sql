-- Break-glass: a clinician opens the chart of one patient in an emergency; the facility's privacy officer sees it at once,
-- reviews it and may close it. FHIR security: break-the-glass, purpose ETREAT.

GRANT INSERT, UPDATE ON clinical.break_glass_grant TO caregraph_search;

-- Opens the chart of a patient whom the caller finds, for up to four hours; no row where the caller finds none. Only through
-- the application, which audits it.
CREATE FUNCTION access.break_glass(of_patient uuid, why text, minutes int) RETURNS SETOF clinical.break_glass_grant
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
    made clinical.break_glass_grant;
BEGIN
    IF NOT access.by_application() OR caller.profile NOT IN ('clinician', 'nurse') OR caller.reach = 'EXCHANGE'
        OR NOT EXISTS (SELECT FROM access.standings(ARRAY[of_patient]))
    THEN
        RETURN;
    END IF;
    INSERT INTO clinical.break_glass_grant (facility_id, patient_id, subject, profile, reason, expires_at)
    VALUES (caller.facility_id, of_patient, caller.subject, caller.profile, why, clock_timestamp() + make_interval(mins => minutes))
    RETURNING * INTO made;
    PERFORM pg_notify('break_glass', made.facility_id || ' ' || made.id);
    RETURN NEXT made;
END $$;

-- Grants of the facility, newest first, for its privacy officer.
CREATE FUNCTION access.break_glass_grants(before_time timestamptz, before_id uuid, unreviewed boolean, rows_max int)
RETURNS SETOF clinical.break_glass_grant
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.*
    FROM access.context() AS c
    JOIN clinical.break_glass_grant AS g ON g.facility_id = c.facility_id
    WHERE c.profile = 'privacy_officer' AND (g.granted_at, g.id) < (before_time, before_id)
        AND (NOT unreviewed OR g.reviewed_at IS NULL)
    ORDER BY g.granted_at DESC, g.id DESC
    LIMIT rows_max
$$;

CREATE FUNCTION access.break_glass_grants_by_id(ids uuid[]) RETURNS SETOF clinical.break_glass_grant
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.*
    FROM access.context() AS c
    JOIN clinical.break_glass_grant AS g ON g.facility_id = c.facility_id
    WHERE g.id = ANY (ids) AND (c.profile = 'privacy_officer' OR c.subject = g.subject AND c.profile = g.profile)
$$;

-- Records a privacy officer's review, and ends the grant where it is to be closed. A review is made once.
CREATE FUNCTION access.review_break_glass(of_grant uuid, words text, closing boolean) RETURNS SETOF clinical.break_glass_grant
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    IF NOT access.by_application() OR caller.profile IS DISTINCT FROM 'privacy_officer' THEN
        RETURN;
    END IF;
    RETURN QUERY UPDATE clinical.break_glass_grant AS g
        SET review = words, reviewed_by = caller.subject, reviewed_at = clock_timestamp(),
            closed_at = CASE WHEN closing THEN coalesce(g.closed_at, clock_timestamp()) ELSE g.closed_at END
        WHERE g.id = of_grant AND g.facility_id = caller.facility_id AND g.reviewed_at IS NULL
        RETURNING g.*;
END $$;
ALTER FUNCTION access.break_glass(uuid, text, int) OWNER TO caregraph_search;
ALTER FUNCTION access.break_glass_grants(timestamptz, uuid, boolean, int) OWNER TO caregraph_search;
ALTER FUNCTION access.break_glass_grants_by_id(uuid[]) OWNER TO caregraph_search;
ALTER FUNCTION access.review_break_glass(uuid, text, boolean) OWNER TO caregraph_search;
