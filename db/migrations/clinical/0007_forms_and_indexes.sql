-- Filters by code find the codes of the two catalogues by index, a search finds numbers by index, and ways to reach people
-- are masked each by its own kind.

SET ROLE caregraph_owner;
SET search_path = clinical, public;
CREATE INDEX medication_by_code ON medication (code);
CREATE INDEX lab_test_by_code ON lab_test (code);
UPDATE access.column_kind SET kind = 'BY_SYSTEM' WHERE table_name = 'patient' AND column_name = 'telecom';
UPDATE access.column_kind SET kind = 'CONTACT' WHERE table_name = 'patient' AND column_name = 'contact';
RESET ROLE;
SET search_path = public;

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

-- Search again: a number's prefix is compared in byte order, as its index is (any other order reads all registrations of
-- the facility, and in some locales finds no prefix at all). Else as before.
--
-- Every term must match some word of one name, in any order, or be the medical record number (exact 1, prefix 0.9); a
-- birth date narrows, and one that is right but for the day (an estimated day) lowers the score. Best first, then by id.
CREATE OR REPLACE FUNCTION access.search_patients(terms text[], birth text, before_score numeric, before_id uuid, rows_max int)
RETURNS TABLE (patient_id uuid, score numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET pg_trgm.word_similarity_threshold = 0.4 AS $$
    WITH longest AS MATERIALIZED (
        SELECT clinical.normal_name(term) AS term FROM unnest(terms) AS term ORDER BY length(term) DESC LIMIT 1
    ),
    named AS (
        SELECT s.patient_id, (
            SELECT min(access.term_score(clinical.normal_name(term), s.name))
            FROM unnest(terms) AS term
            WHERE clinical.normal_name(term) <> ''
        ) AS score
        FROM clinical.patient_search AS s
        WHERE s.facility_id = (SELECT access.facility_id())
          AND (s.name LIKE '%' || (SELECT term FROM longest) || '%'
               OR s.name OPERATOR(public.%>) (SELECT term FROM longest))
          AND (SELECT term FROM longest) <> ''
    ),
    numbered AS (
        SELECT r.patient_id, CASE WHEN lower(r.mrn) = lower(terms[1]) THEN 1 ELSE 0.9 END AS score
        FROM clinical.registration AS r
        WHERE r.facility_id = (SELECT access.facility_id()) AND cardinality(terms) = 1
          AND lower(r.mrn) ~>=~ lower(terms[1]) AND lower(r.mrn) ~<~ (lower(terms[1]) || U&'\FFFF')
    ),
    born AS (
        SELECT p.id AS patient_id, 1.0 AS score
        FROM clinical.registration AS r
        JOIN clinical.patient AS p ON p.id = r.patient_id
        WHERE r.facility_id = (SELECT access.facility_id()) AND cardinality(terms) = 0
          AND left(p.birth_date, 7) = left(birth, 7)
    ),
    matched AS (
        SELECT m.patient_id, max(m.score) AS score
        FROM (SELECT * FROM named UNION ALL SELECT * FROM numbered UNION ALL SELECT * FROM born) AS m
        WHERE m.score > 0
        GROUP BY m.patient_id
    ),
    ranked AS (
        SELECT m.patient_id, round(m.score * CASE WHEN birth IS NULL OR p.birth_date = birth THEN 1.0 ELSE 0.75 END, 4) AS score
        FROM matched AS m
        JOIN clinical.patient AS p ON p.id = m.patient_id
        WHERE birth IS NULL OR left(p.birth_date, 7) = left(birth, 7)
    )
    SELECT k.patient_id, k.score
    FROM ranked AS k
    WHERE (k.score, k.patient_id) < (before_score, before_id)
    ORDER BY k.score DESC, k.patient_id DESC
    LIMIT rows_max
$$;
