-- What writers see and may write of the chart: rows of their facility whose chart is open to the caller, and whose labels too.

GRANT USAGE ON SCHEMA clinical TO caregraph_writer;

-- Whether a patient's chart is open to the caller of this transaction, and whether a row with these labels of it is. For the
-- application alone: who asks elsewhere would learn who said no.
CREATE FUNCTION access.chart_is_open(of_patient uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(access.by_application() AND s.standing = 'OPEN' AND c.home_facility_id IS NULL, false)
    FROM access.context() AS c, access.standing_of(c, ARRAY[of_patient]) AS s
    WHERE EXISTS (SELECT FROM clinical.registration AS r WHERE r.facility_id = c.facility_id AND r.patient_id = of_patient)
$$;
CREATE FUNCTION access.row_is_open(of_patient uuid, label text[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.chart_is_open(of_patient) AND coalesce(label, '{R}') <@ access.clearance_to(access.context(), of_patient)
$$;
ALTER FUNCTION access.chart_is_open(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.row_is_open(uuid, text[]) OWNER TO caregraph_search;

SET ROLE caregraph_owner;
DO $$
DECLARE
    opened text;
    here CONSTANT text := 'facility_id = (SELECT access.facility_id())';
    chart CONSTANT text := ' AND access.chart_is_open(patient_id)';
    labelled CONSTANT text := ' AND access.row_is_open(patient_id, label)';
BEGIN
    FOREACH opened IN ARRAY ARRAY['encounter', 'condition', 'procedure', 'allergy_intolerance', 'immunization', 'observation',
        'diagnostic_report', 'lab_result', 'medication_request', 'medication_administration']
    LOOP
        PERFORM access.open_to_writers(format('clinical.%I', opened)::regclass, here || labelled, here || chart);
    END LOOP;
    FOREACH opened IN ARRAY ARRAY['care_team', 'consent', 'appointment'] LOOP
        PERFORM access.open_to_writers(format('clinical.%I', opened)::regclass, here || chart, here || chart);
    END LOOP;
    -- Whoever may register may find that somebody is registered already, whatever the chart.
    PERFORM access.open_to_writers('clinical.registration', here, here);
    PERFORM access.open_to_writers('clinical.patient',
        '(SELECT true FROM clinical.registration AS r WHERE r.patient_id = patient.id)', 'true');
    FOREACH opened IN ARRAY ARRAY['patient_name', 'patient_identifier'] LOOP
        PERFORM access.open_to_writers(format('clinical.%I', opened)::regclass,
            format('(SELECT true FROM clinical.registration AS r WHERE r.patient_id = %I.patient_id)', opened),
            format('(SELECT true FROM clinical.registration AS r WHERE r.patient_id = %I.patient_id)', opened));
    END LOOP;
    -- What the others refer to; catalogues grow with what is ordered.
    PERFORM access.open_to_writers('clinical.facility', 'id = (SELECT access.facility_id())', 'false');
    FOREACH opened IN ARRAY ARRAY['department', 'provider_role'] LOOP
        PERFORM access.open_to_writers(format('clinical.%I', opened)::regclass, here, 'false');
    END LOOP;
    PERFORM access.open_to_writers('clinical.provider', '(SELECT true FROM clinical.provider_role AS r WHERE r.provider_id = provider.id)', 'false');
    FOREACH opened IN ARRAY ARRAY['medication', 'lab_test'] LOOP
        PERFORM access.open_to_writers(format('clinical.%I', opened)::regclass, 'true', 'true');
    END LOOP;
    PERFORM access.open_to_writers('clinical.sensitive_code', 'true', 'false');
END $$;
RESET ROLE;
