-- Patient search that reads a page, as before (0022) in what it finds, in which order: a word of the index brings the name that
-- it is of, so that no list is met with another; what fills the page is looked for in the order of the page.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

DROP TABLE patient_word;
CREATE TABLE patient_word (
    facility_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    patient_id uuid NOT NULL,
    position smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (facility_id, word, patient_id, position) INCLUDE (name)
);
COMMENT ON TABLE patient_word IS 'words of patient_search.name, each with the name, kept by the same trigger';
-- Two or three letters begin the names of every tenth patient: the page of those is a range of this index.
CREATE INDEX patient_word_start ON patient_word (facility_id, left(word, 3), patient_id) INCLUDE (word);
SELECT access.guard('patient_word', 'false');
GRANT SELECT ON patient_word TO caregraph_search;

-- A month's patients without a look at each.
CREATE INDEX patient_by_birth ON patient (left(birth_date, 7), id) INCLUDE (birth_date);
DROP INDEX patient_by_birth_month;

CREATE OR REPLACE FUNCTION index_words(patients uuid[]) RETURNS void LANGUAGE sql SET search_path = clinical, pg_temp AS $$
    INSERT INTO name_word (word)
    SELECT DISTINCT one COLLATE "C" AS word
    FROM unnest(patients) AS of_patient
    JOIN patient_search AS s ON s.patient_id = of_patient
    CROSS JOIN string_to_table(s.name, ' ') AS one
    WHERE one <> ''
    ORDER BY word
    ON CONFLICT DO NOTHING;
    INSERT INTO patient_word (facility_id, word, patient_id, position, name)
    SELECT DISTINCT s.facility_id, one, s.patient_id, s.position, s.name
    FROM unnest(patients) AS of_patient
    JOIN patient_search AS s ON s.patient_id = of_patient
    CROSS JOIN string_to_table(s.name, ' ') AS one
    WHERE one <> '';
$$;
ALTER TABLE patient_search NO FORCE ROW LEVEL SECURITY;
ALTER TABLE patient_word NO FORCE ROW LEVEL SECURITY;
ALTER TABLE name_word NO FORCE ROW LEVEL SECURITY;
INSERT INTO patient_word (facility_id, word, patient_id, position, name)
SELECT DISTINCT s.facility_id, one COLLATE "C" AS word, s.patient_id, s.position, s.name
FROM patient_search AS s
CROSS JOIN string_to_table(s.name, ' ') AS one
WHERE one <> ''
ORDER BY s.facility_id, word, s.patient_id;
ALTER TABLE patient_search FORCE ROW LEVEL SECURITY;
ALTER TABLE patient_word FORCE ROW LEVEL SECURITY;
ALTER TABLE name_word FORCE ROW LEVEL SECURITY;
RESET ROLE;

DROP FUNCTION access.begun(text[], text), access.resembled(text[]), access.born(text[], text, text);

-- What follows has no settings of its own, so that it becomes part of the statement that calls it. `place` is the caller's
-- facility; who is in `denied`, or beyond `reached` where that is not NULL, is not found. Scores are of 10000.

-- Patients with this word in a name, by falling id below one: the first ones.
CREATE FUNCTION access.named(place uuid, asked text, below uuid, reached uuid[], denied uuid[], rows_max int)
RETURNS TABLE (patient_id uuid) LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT DISTINCT w.patient_id
    FROM clinical.patient_word AS w
    WHERE w.facility_id = place AND w.word = asked AND w.patient_id < below
        AND (reached IS NULL OR w.patient_id IN (SELECT unnest(reached))) AND w.patient_id NOT IN (SELECT unnest(denied))
    ORDER BY w.patient_id DESC
    LIMIT rows_max
$$;

-- The same of those with a word that begins with this one, and none that is it. The first ones of each longer word that the
-- network knows, or of three letters, which are too many words.
CREATE FUNCTION access.begun(place uuid, asked text, below uuid, reached uuid[], denied uuid[], rows_max int)
RETURNS TABLE (patient_id uuid) LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT f.patient_id
    FROM (
        SELECT DISTINCT left(n.word, 3) AS start FROM clinical.name_word AS n
        WHERE length(asked) <= 3 AND n.word > asked AND n.word < asked || '{'
    ) AS s
    CROSS JOIN LATERAL (
        SELECT DISTINCT w.patient_id
        FROM clinical.patient_word AS w
        WHERE w.facility_id = place AND left(w.word, 3) = s.start AND w.patient_id < below AND w.word <> asked
            AND NOT EXISTS (SELECT FROM clinical.patient_word AS v
                WHERE v.facility_id = place AND v.word = asked AND v.patient_id = w.patient_id)
            AND (reached IS NULL OR w.patient_id IN (SELECT unnest(reached))) AND w.patient_id NOT IN (SELECT unnest(denied))
        ORDER BY w.patient_id DESC
        LIMIT rows_max
    ) AS f
    UNION ALL
    SELECT f.patient_id
    FROM clinical.name_word AS n
    CROSS JOIN LATERAL (
        SELECT DISTINCT w.patient_id
        FROM clinical.patient_word AS w
        WHERE w.facility_id = place AND w.word = n.word AND w.patient_id < below
            AND NOT EXISTS (SELECT FROM clinical.patient_word AS v
                WHERE v.facility_id = place AND v.word = asked AND v.patient_id = w.patient_id)
            AND (reached IS NULL OR w.patient_id IN (SELECT unnest(reached))) AND w.patient_id NOT IN (SELECT unnest(denied))
        ORDER BY w.patient_id DESC
        LIMIT rows_max
    ) AS f
    WHERE length(asked) > 3 AND n.word > asked AND n.word < asked || '{'
$$;

-- Of several words the one that begins the fewest names of the facility, as far as a look at some says.
CREATE FUNCTION access.rarest(place uuid, asked text[]) RETURNS TABLE (word text) LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT a.word
    FROM unnest(asked) AS a (word)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (
            SELECT FROM clinical.patient_word AS w
            WHERE w.facility_id = place AND w.word >= a.word AND w.word < a.word || '{'
            LIMIT 1000
        ) AS few
    ) AS counted
    ORDER BY counted.n, length(a.word) DESC, a.word
    LIMIT 1
$$;

-- Patients one of whose names has, for every word, a word that begins with it: 10000 where all are the whole, else 9000.
CREATE FUNCTION access.begun_all(place uuid, asked text[], rarest text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT w.patient_id, CASE WHEN ' ' || w.name || ' ' LIKE ALL (ARRAY(SELECT '% ' || a || ' %' FROM unnest(asked) AS a))
        THEN 10000 ELSE 9000 END
    FROM clinical.patient_word AS w
    WHERE w.facility_id = place AND w.word >= rarest AND w.word < rarest || '{'
        AND ' ' || w.name LIKE ALL (ARRAY(SELECT '% ' || a || '%' FROM unnest(asked) AS a))
$$;

-- Patients whose number is this one, 10000, or begins with it, 9000.
CREATE FUNCTION access.numbered(place uuid, number text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT r.patient_id, CASE WHEN lower(r.mrn) = number THEN 10000 ELSE 9000 END
    FROM clinical.registration AS r
    WHERE r.facility_id = place AND lower(r.mrn) ~>=~ number AND lower(r.mrn) ~<~ (number || U&'\FFFF')
$$;

-- Words of the network that each of these begins, whose score is as above, or that resemble it: by trigrams up to 7000.
CREATE FUNCTION access.alike(asked text[]) RETURNS TABLE (meant text, word text, score int)
LANGUAGE sql STABLE ROWS 300 AS $$
    SELECT a.word, n.word, CASE WHEN n.word = a.word THEN 10000 WHEN starts_with(n.word, a.word) THEN 9000
        ELSE (10000 * round(0.7 * public.word_similarity(a.word, n.word)::numeric, 3))::int END
    FROM unnest(asked) AS a (word)
    CROSS JOIN LATERAL (
        SELECT n.word FROM clinical.name_word AS n WHERE n.word OPERATOR(public.%>) a.word
        UNION
        SELECT n.word FROM clinical.name_word AS n WHERE n.word >= a.word AND n.word < a.word || '{'
    ) AS n
$$;

-- Patients with one of these words in a name, each with the word's score.
CREATE FUNCTION access.resembled(place uuid, words text[], scores int[]) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT w.patient_id, k.score
    FROM unnest(words, scores) AS k (word, score)
    CROSS JOIN LATERAL (
        SELECT w.patient_id FROM clinical.patient_word AS w WHERE w.facility_id = place AND w.word = k.word OFFSET 0
    ) AS w
$$;

-- Patients one of whose names has, for every word, a word that it begins or that resembles it: the score of the least.
CREATE FUNCTION access.resembled_all(place uuid, asked text[], rarest text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 100 AS $$
    WITH alike AS MATERIALIZED (SELECT * FROM access.alike(asked))
    SELECT n.patient_id, min(n.score)
    FROM (
        SELECT s.patient_id, s.position, least(max(s.score), max(k.score)) AS score
        FROM (
            SELECT w.*, k.score
            FROM alike AS k
            CROSS JOIN LATERAL (
                SELECT w.patient_id, w.position, w.name
                FROM clinical.patient_word AS w
                WHERE w.facility_id = place AND w.word = k.word
                OFFSET 0
            ) AS w
            WHERE k.meant = rarest
        ) AS s
        CROSS JOIN LATERAL string_to_table(s.name, ' ') AS one
        JOIN alike AS k ON k.word = one AND k.meant <> rarest
        GROUP BY s.patient_id, s.position, k.meant
    ) AS n
    GROUP BY n.patient_id, n.position
    HAVING count(*) = cardinality(asked) - 1
$$;

-- Patients born in a month, who are so few that their names are read: by day 10000 of 10000, else 7500.
CREATE FUNCTION access.born(place uuid, asked text[], number text, birth text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT m.id, round(m.score * CASE WHEN m.birth_date = birth THEN 1.0 ELSE 0.75 END)::int
    FROM (
        SELECT p.id, p.birth_date, CASE WHEN lower(r.mrn) = number THEN 10000 WHEN starts_with(lower(r.mrn), number) THEN 9000
            WHEN cardinality(asked) = 0 AND number IS NULL THEN 10000 ELSE (
                SELECT max((
                    SELECT min((SELECT max(10000 * access.term_score(a.word, one)) FROM string_to_table(s.name, ' ') AS one))
                    FROM unnest(asked) AS a (word)))
                FROM clinical.patient_search AS s
                WHERE s.facility_id = place AND s.patient_id = p.id) END AS score
        FROM clinical.patient AS p
        CROSS JOIN LATERAL (
            SELECT r.mrn FROM clinical.registration AS r WHERE r.facility_id = place AND r.patient_id = p.id OFFSET 0
        ) AS r
        WHERE left(p.birth_date, 7) = left(birth, 7)
    ) AS m
    WHERE m.score > 0
$$;

-- Patients who are found by resemblance alone, best first, then by id. One word's are found from what resembles it most, and
-- from the rest only where that does not fill the page.
CREATE FUNCTION access.resembling(place uuid, asked text[], number text, rarest text, before int, before_id uuid,
    reached uuid[], denied uuid[], rows_max int)
RETURNS TABLE (patient_id uuid, score int) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    words text[];
    scores int[];
    many int;
    found uuid[];
    found_scores int[];
BEGIN
    IF rarest IS NULL THEN
        SELECT array_agg(k.word ORDER BY k.score DESC), array_agg(k.score ORDER BY k.score DESC) INTO words, scores
        FROM access.alike(asked) AS k
        WHERE k.score < 9000;
    END IF;
    FOREACH many IN ARRAY ARRAY[20, 1000000] LOOP
        SELECT array_agg(f.patient_id), array_agg(f.score) INTO found, found_scores
        FROM (
            SELECT m.patient_id, m.score
            FROM (
                SELECT f.patient_id, max(f.score) AS score
                FROM (
                    SELECT * FROM access.resembled(place, words, scores) AS r
                    WHERE rarest IS NULL AND r.score >= scores[least(many, cardinality(scores))]
                    UNION ALL
                    SELECT * FROM access.resembled_all(place, asked, rarest) WHERE rarest IS NOT NULL
                ) AS f
                GROUP BY f.patient_id
                HAVING max(f.score) < 9000 AND (max(f.score), f.patient_id) < (before, before_id)
                ORDER BY max(f.score) DESC, f.patient_id DESC
            ) AS m
            WHERE (number IS NULL OR NOT EXISTS (
                    SELECT FROM clinical.registration AS r
                    WHERE r.facility_id = place AND r.patient_id = m.patient_id AND starts_with(lower(r.mrn), number)))
                AND (rarest IS NOT NULL OR NOT EXISTS (
                    SELECT FROM clinical.patient_search AS s
                    WHERE s.facility_id = place AND s.patient_id = m.patient_id AND ' ' || s.name LIKE '% ' || asked[1] || '%'))
                AND (reached IS NULL OR m.patient_id IN (SELECT unnest(reached)))
                AND m.patient_id NOT IN (SELECT unnest(denied))
            LIMIT rows_max
        ) AS f;
        EXIT WHEN rarest IS NOT NULL OR many >= cardinality(words) OR cardinality(found) = rows_max;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(found, found_scores);
END $$;

-- Patients whom the caller finds: all words must begin some word of one name, in any order, or resemble one, or the one
-- term be the medical record number or its beginning; a birth date narrows to its month, and one that is right but for
-- the day (an estimated day) lowers the score. Best first, then by id.
--
-- What only begins so is looked for where whole words do not fill the page, and what resembles where neither does. With a
-- birth date no list of names is read: the month narrows more than any name.
CREATE OR REPLACE FUNCTION access.search_patients(terms text[], birth text, before_score numeric, before_id uuid, rows_max int)
RETURNS TABLE (patient_id uuid, score numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET pg_trgm.word_similarity_threshold = 0.4 AS $$
#variable_conflict use_column
DECLARE
    place CONSTANT uuid := access.facility_id();
    asked CONSTANT text[] := ARRAY(
        SELECT DISTINCT word COLLATE "C" FROM unnest(terms) AS term, string_to_table(clinical.normal_name(term), ' ') AS word
        WHERE word <> '');
    number CONSTANT text := CASE WHEN cardinality(terms) = 1 THEN lower(terms[1]) END;
    reached CONSTANT uuid[] := CASE WHEN NOT access.finds_all() THEN ARRAY(SELECT access.reached_by(access.context())) END;
    denied CONSTANT uuid[] := CASE WHEN access.finds_denied() THEN '{}'
        ELSE ARRAY(SELECT access.denied_to(access.context())) END;
    before CONSTANT int := before_score * 10000;
    last CONSTANT uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    wanted int := rows_max;
    numbered uuid[];
    below uuid;
    rarest text;
    given int;
BEGIN
    IF birth IS NULL AND cardinality(asked) <= 1 THEN
        numbered := ARRAY(SELECT n.patient_id FROM access.numbered(place, number) AS n WHERE n.score = 10000);
        IF before >= 10000 THEN
            below := CASE before WHEN 10000 THEN before_id ELSE last END;
            RETURN QUERY
                SELECT f.patient_id, 1.0000
                FROM (
                    SELECT * FROM access.named(place, asked[1], below, reached, denied, wanted)
                    UNION
                    SELECT n FROM unnest(numbered) AS n
                    WHERE n < below AND (reached IS NULL OR n = ANY (reached)) AND n <> ALL (denied)
                ) AS f
                ORDER BY f.patient_id DESC
                LIMIT wanted;
            GET DIAGNOSTICS given = ROW_COUNT;
            wanted := wanted - given;
        END IF;
        IF before >= 9000 AND wanted > 0 THEN
            below := CASE before WHEN 9000 THEN before_id ELSE last END;
            RETURN QUERY
                SELECT f.patient_id, 0.9000
                FROM (
                    SELECT * FROM access.begun(place, asked[1], below, reached, denied, wanted + cardinality(numbered))
                    UNION
                    SELECT n.patient_id
                    FROM access.numbered(place, number) AS n
                    WHERE n.patient_id < below AND (asked = '{}' OR NOT EXISTS (SELECT FROM clinical.patient_word AS v
                            WHERE v.facility_id = place AND v.word = asked[1] AND v.patient_id = n.patient_id))
                        AND (reached IS NULL OR n.patient_id IN (SELECT unnest(reached)))
                        AND n.patient_id NOT IN (SELECT unnest(denied))
                ) AS f
                WHERE f.patient_id <> ALL (numbered)
                ORDER BY f.patient_id DESC
                LIMIT wanted;
            GET DIAGNOSTICS given = ROW_COUNT;
            wanted := wanted - given;
        END IF;
    ELSE
        rarest := (SELECT word FROM access.rarest(place, asked) WHERE birth IS NULL);
        RETURN QUERY
            SELECT m.patient_id, round(m.score / 10000.0, 4)
            FROM (
                SELECT f.patient_id, max(f.score) AS score
                FROM (
                    SELECT * FROM access.begun_all(place, asked, rarest) WHERE birth IS NULL
                    UNION ALL
                    SELECT * FROM access.numbered(place, number) WHERE birth IS NULL
                    UNION ALL
                    SELECT * FROM access.born(place, asked, number, birth) WHERE birth IS NOT NULL
                ) AS f
                GROUP BY f.patient_id
            ) AS m
            WHERE (m.score, m.patient_id) < (before, before_id)
                AND (reached IS NULL OR m.patient_id IN (SELECT unnest(reached)))
                AND m.patient_id NOT IN (SELECT unnest(denied))
            ORDER BY m.score DESC, m.patient_id DESC
            LIMIT wanted;
        GET DIAGNOSTICS given = ROW_COUNT;
        wanted := wanted - given;
    END IF;
    IF birth IS NULL AND wanted > 0 AND cardinality(asked) > 0 THEN
        RETURN QUERY SELECT f.patient_id, round(f.score / 10000.0, 4)
            FROM access.resembling(place, asked, number, rarest, before, before_id, reached, denied, wanted) AS f;
    END IF;
END $$;
DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN
        SELECT p.oid FROM pg_proc AS p
        WHERE p.pronamespace = 'access'::regnamespace AND p.proname IN ('named', 'begun', 'rarest', 'begun_all', 'numbered', 'alike',
            'resembled', 'resembled_all', 'resembling', 'born')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO caregraph_search', made);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
END $$;
