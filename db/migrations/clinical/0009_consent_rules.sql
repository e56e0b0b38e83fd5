-- Rules of consents, kept in step by trigger; and the search for patients inside the new layers.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- First instant of a FHIR dateTime, or with `is_end` the one after its last.
CREATE FUNCTION instant_of(value text, is_end boolean) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT SET timezone = 'UTC' AS $$
    SELECT CASE length(value)
        WHEN 4 THEN make_timestamptz(value::int, 1, 1, 0, 0, 0) + CASE WHEN is_end THEN interval '1 year' ELSE '0' END
        WHEN 7 THEN (value || '-01')::timestamptz + CASE WHEN is_end THEN interval '1 month' ELSE '0' END
        WHEN 10 THEN value::timestamptz + CASE WHEN is_end THEN interval '1 day' ELSE '0' END
        ELSE value::timestamptz
    END
$$;

-- Rules of one FHIR Consent.provision and of those nested in it, which inherit nothing. What can't be read exactly is read
-- narrowly: where a deny and a permit meet the deny wins, and a denial to somebody unknown is one to everybody.
CREATE FUNCTION rules_of(provision jsonb)
RETURNS TABLE (type text, purposes text[], recipients text[], labels text[], period tstzrange)
LANGUAGE sql STABLE SET search_path = clinical, pg_catalog, pg_temp AS $$
    WITH RECURSIVE every (rule) AS (
        SELECT provision
        UNION ALL
        SELECT nested FROM every, jsonb_array_elements(rule -> 'provision') AS nested
    ),
    named AS (
        SELECT rule, (
            SELECT array_agg(coalesce(
                substring(lower(one #>> '{reference,reference}') FROM '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
                one #>> '{role,coding,0,code}'))
            FROM jsonb_array_elements(rule -> 'actor') AS one) AS recipients
        FROM every
    )
    SELECT rule ->> 'type',
        (SELECT array_agg(one ->> 'code') FROM jsonb_array_elements(rule -> 'purpose') AS one),
        CASE WHEN rule ->> 'type' = 'deny' AND array_position(recipients, NULL) IS NOT NULL THEN NULL ELSE recipients END,
        (SELECT array_agg(one ->> 'code') FROM jsonb_array_elements(rule -> 'securityLabel') AS one),
        tstzrange(instant_of(rule #>> '{period,start}', false), instant_of(rule #>> '{period,end}', true))
    FROM named
    WHERE rule ->> 'type' IN ('permit', 'deny')
$$;

CREATE FUNCTION refresh_consent_rules() RETURNS trigger LANGUAGE plpgsql SET search_path = clinical, pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM consent_rule WHERE consent_id IN (SELECT id FROM changed);
    INSERT INTO consent_rule (consent_id, position, facility_id, patient_id, type, purposes, recipients, labels, period)
    SELECT c.id, r.position, c.facility_id, c.patient_id, r.type, r.purposes, r.recipients, r.labels, r.period
    FROM consent AS c
    CROSS JOIN LATERAL rules_of(c.provision) WITH ORDINALITY AS r (type, purposes, recipients, labels, period, position)
    WHERE c.id IN (SELECT id FROM changed) AND c.status = 'active';
    RETURN NULL;
END $$;
CREATE TRIGGER rules_insert AFTER INSERT ON consent REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refresh_consent_rules();
CREATE TRIGGER rules_update AFTER UPDATE ON consent REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refresh_consent_rules();
ALTER TABLE consent NO FORCE ROW LEVEL SECURITY;
ALTER TABLE consent_rule NO FORCE ROW LEVEL SECURITY;
UPDATE consent SET status = status;
ALTER TABLE consent FORCE ROW LEVEL SECURITY;
ALTER TABLE consent_rule FORCE ROW LEVEL SECURITY;
RESET ROLE;

-- As before, now inside the layers: see 0005_search.sql.
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
        WHERE (birth IS NULL OR left(p.birth_date, 7) = left(birth, 7))
          AND ((SELECT access.finds_all()) OR m.patient_id IN (SELECT access.reached_by(access.context())))
          AND ((SELECT access.finds_denied()) OR m.patient_id NOT IN (SELECT access.denied_to(access.context())))
    )
    SELECT k.patient_id, k.score
    FROM ranked AS k
    WHERE (k.score, k.patient_id) < (before_score, before_id)
    ORDER BY k.score DESC, k.patient_id DESC
    LIMIT rows_max
$$;
