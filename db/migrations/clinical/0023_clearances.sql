-- Clearances of a facility's patients in one set: asked one by one they cost a request that reads a store beside this one
-- more than all that it read there.

-- Labels that a caller may see of each patient of whom they may differ from the role's: access.clearance_to for all of
-- them at once. Sorted, as sets.
CREATE FUNCTION access.clearances_to(caller access.caller) RETURNS TABLE (patient_id uuid, labels text[])
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    WITH glass AS MATERIALIZED (SELECT p AS patient_id FROM access.glass_broken(caller) AS p),
    told AS MATERIALIZED (
        SELECT r.patient_id, array_agg(label) FILTER (WHERE r.type = 'permit') AS permitted,
            array_agg(label) FILTER (WHERE r.type = 'deny') AS denied
        FROM clinical.consent_rule AS r
        LEFT JOIN LATERAL unnest(r.labels) AS label ON access.applies(
            r, caller, access.purpose_for(caller, r.patient_id IN (SELECT g.patient_id FROM glass AS g)))
        WHERE r.facility_id = caller.facility_id AND r.labels IS NOT NULL
        GROUP BY r.patient_id
    )
    SELECT e.patient_id, ARRAY(
        SELECT DISTINCT label
        FROM unnest(caller.labels || CASE WHEN g.patient_id IS NOT NULL THEN caller.lifts END || t.permitted) AS label
        WHERE label IS NOT NULL AND (caller.profile = 'patient' OR label <> ALL (array_remove(coalesce(t.denied, '{}'), NULL)))
        ORDER BY label)
    FROM (SELECT g.patient_id FROM glass AS g UNION SELECT t.patient_id FROM told AS t) AS e
    LEFT JOIN told AS t ON t.patient_id = e.patient_id
    LEFT JOIN (SELECT DISTINCT patient_id FROM glass) AS g ON g.patient_id = e.patient_id
$$;
ALTER FUNCTION access.clearances_to(access.caller) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.clearances_to(access.caller) FROM PUBLIC;

CREATE OR REPLACE FUNCTION access.patients()
RETURNS TABLE (reached uuid[], denied uuid[], excepted uuid[], clearances text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT access.sees_all() THEN ARRAY(SELECT DISTINCT p FROM access.reached_by(c) AS p) END,
        ARRAY(SELECT DISTINCT p FROM access.denied_to(c) AS p),
        e.patients, e.clearances
    FROM access.context() AS c
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(o.patient_id ORDER BY o.patient_id), '{}') AS patients,
            coalesce(array_agg(array_to_string(o.labels, '.') ORDER BY o.patient_id), '{}') AS clearances
        FROM access.clearances_to(c) AS o
    ) AS e
    WHERE c.facility_id IS NOT NULL AND access.by_application()
$$;
