-- Patient search. Under row-level security a trigram index is not used (its operators are not leakproof), so the search
-- runs as a SECURITY DEFINER function that takes the facility from the verified context (design 4).

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- Lower case, without accents, apostrophes, hyphens and digits that generators append to names.
CREATE FUNCTION normal_name(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT btrim(regexp_replace(regexp_replace(lower(public.unaccent('public.unaccent', name)), '[''’`\d.]', '', 'g'), '[^a-z]+', ' ', 'g'))
$$;

-- One row for each registration and name; maintained by trigger from registration and patient_name.
CREATE TABLE patient_search (
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    position smallint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (facility_id, patient_id, position)
);
CREATE INDEX patient_search_trigram ON patient_search USING gin (facility_id, name gin_trgm_ops);
SELECT access.guard('patient_search', 'false');
GRANT SELECT ON patient_search, patient, registration TO caregraph_search;
CREATE INDEX registration_by_mrn ON registration (facility_id, lower(mrn) text_pattern_ops);
CREATE INDEX patient_by_birth_month ON patient (left(birth_date, 7));

-- Keeps patient_search in step with what it is made of, once for each statement.
CREATE FUNCTION refresh_patient_search() RETURNS trigger LANGUAGE plpgsql SET search_path = clinical, pg_temp AS $$
BEGIN
    DELETE FROM patient_search WHERE patient_id IN (SELECT patient_id FROM changed);
    INSERT INTO patient_search (facility_id, patient_id, position, name)
    SELECT r.facility_id, r.patient_id, n.position,
           normal_name(concat_ws(' ', array_to_string(n.given, ' '), n.family, CASE WHEN n.family IS NULL THEN n.text END))
    FROM registration AS r
    JOIN patient_name AS n ON n.patient_id = r.patient_id
    WHERE r.patient_id IN (SELECT patient_id FROM changed);
    RETURN NULL;
END $$;
DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY['registration', 'patient_name'] LOOP
        EXECUTE format('CREATE TRIGGER search_insert AFTER INSERT ON clinical.%I REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION clinical.refresh_patient_search()', watched);
        EXECUTE format('CREATE TRIGGER search_update AFTER UPDATE ON clinical.%I REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION clinical.refresh_patient_search()', watched);
        EXECUTE format('CREATE TRIGGER search_delete AFTER DELETE ON clinical.%I REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION clinical.refresh_patient_search()', watched);
    END LOOP;
END $$;

RESET ROLE;
SET search_path = public;

-- How well a term matches a normalised name: 1 a whole word, 0.9 the start of one, up to 0.7 by trigrams, 0 not at all.
CREATE FUNCTION access.term_score(term text, name text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN ' ' || name || ' ' LIKE '% ' || term || ' %' THEN 1
        WHEN ' ' || name LIKE '% ' || term || '%' THEN 0.9
        WHEN public.word_similarity(term, name) >= 0.4 THEN round(0.7 * public.word_similarity(term, name)::numeric, 3)
        ELSE 0
    END
$$;

-- Every term must match some word of one name, in any order, or be the medical record number (exact 1, prefix 0.9); a
-- birth date narrows, and one that is right but for the day (an estimated day) lowers the score. Best first, then by id. The
-- prefix of a number is compared in byte order, as its index is.
CREATE FUNCTION access.search_patients(terms text[], birth text, before_score numeric, before_id uuid, rows_max int)
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
REVOKE EXECUTE ON FUNCTION access.search_patients(text[], text, numeric, uuid, int) FROM PUBLIC;
ALTER FUNCTION access.search_patients(text[], text, numeric, uuid, int) OWNER TO caregraph_search;
GRANT EXECUTE ON FUNCTION access.search_patients(text[], text, numeric, uuid, int) TO caregraph_owner;
