-- Clinical FHIR fragments hold words and times of their own kinds, which are masked as such.

UPDATE access.column_kind SET kind = 'FRAGMENT' WHERE (table_name, column_name) IN (
    ('allergy_intolerance', 'reaction'), ('medication_request', 'dosage'), ('medication_administration', 'dosage'),
    ('lab_result', 'component'), ('observation', 'component'));

-- FHIR AllergyIntolerance.reaction, Dosage or Observation.component, one or a list -> the same without its texts and times,
-- where these kinds (FREE_TEXT, DATE) are hidden: a coded fact that carries words.
CREATE FUNCTION access.mask_fragment(value jsonb, hidden text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE jsonb_typeof(value) WHEN 'array' THEN coalesce(jsonb_agg(masked ORDER BY place), '[]') ELSE jsonb_agg(masked) -> 0 END
    FROM jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END)
        WITH ORDINALITY AS listed (one, place)
    CROSS JOIN LATERAL (SELECT CASE WHEN 'FREE_TEXT' = ANY (hidden)
        THEN one - '{text,patientInstruction,description,note,valueString}'::text[] ELSE one END) AS texts (worded)
    CROSS JOIN LATERAL (SELECT CASE WHEN 'DATE' = ANY (hidden)
        THEN (worded - '{onset,valueDateTime,valuePeriod}'::text[]) #- '{timing,event}' #- '{timing,repeat,boundsPeriod}'
        ELSE worded END) AS times (masked)
$$;
