-- Masks of FHIR fragments whose parts have kinds of their own (db/views.py names them BY_SYSTEM, CONTACT, FRAGMENT, DETAILS).

-- List of FHIR ContactPoint -> the same without the values of hidden kinds. A point whose system is none of these may be
-- any of them, so it is shown only to who may see all.
CREATE FUNCTION access.mask_telecom(telecom jsonb, shown text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(CASE
        WHEN CASE one ->> 'system'
            WHEN 'phone' THEN '{PHONE}' WHEN 'sms' THEN '{PHONE}' WHEN 'pager' THEN '{PHONE}'
            WHEN 'fax' THEN '{FAX}' WHEN 'email' THEN '{EMAIL}'
            ELSE '{PHONE,FAX,EMAIL}'
        END::text[] <@ shown THEN one
        ELSE jsonb_strip_nulls(jsonb_build_object('system', one -> 'system', 'use', one -> 'use'))
    END ORDER BY place), '[]')
    FROM jsonb_array_elements(telecom) WITH ORDINALITY AS listed (one, place)
$$;

-- List of FHIR Patient.contact -> relationship and name, with the telecom and address that the caller may see.
CREATE FUNCTION access.mask_contact(contacts jsonb, shown text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'relationship', one -> 'relationship', 'name', one -> 'name',
        'telecom', access.mask_telecom(one -> 'telecom', shown),
        'address', CASE WHEN 'GEOGRAPHY' = ANY (shown) THEN one -> 'address' END)) ORDER BY place), '[]')
    FROM jsonb_array_elements(contacts) WITH ORDINALITY AS listed (one, place)
$$;

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

-- encounter.details -> its coded parts only: participants, locations and identifiers come with names, texts and times, so
-- whoever may not see one of these kinds sees none of them.
CREATE FUNCTION access.mask_details(details jsonb, hidden text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN cardinality(hidden) = 0 THEN details ELSE jsonb_strip_nulls(jsonb_build_object(
        'reason', details -> 'reason', 'type', details -> 'type', 'priority', details -> 'priority',
        'hospitalization', nullif(jsonb_strip_nulls(jsonb_build_object(
            'admitSource', details -> 'hospitalization' -> 'admitSource',
            'dischargeDisposition', details -> 'hospitalization' -> 'dischargeDisposition')), '{}')))
    END
$$;
