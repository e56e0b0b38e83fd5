-- Patient search by words: the words of names in one B-tree for each facility, and the network's distinct words with
-- trigrams. A trigram index of whole names read, for a common surname, tens of thousands of names of all facilities.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- In byte order, which ranges of a beginning need; words are of the letters a to z only (normal_name).
CREATE TABLE patient_word (
    facility_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    patient_id uuid NOT NULL,
    position smallint NOT NULL,
    PRIMARY KEY (facility_id, word, patient_id, position)
);
COMMENT ON TABLE patient_word IS 'words of patient_search.name, kept by the same trigger';

-- Grows only, so that no writer waits for another's; a word that nobody has any more leads nowhere.
CREATE TABLE name_word (word text COLLATE "C" PRIMARY KEY);
CREATE INDEX name_word_trigram ON name_word USING gin (word gin_trgm_ops);
COMMENT ON TABLE name_word IS 'distinct words of the names of all facilities: what a slip of the pen is compared with';

SELECT access.guard('patient_word', 'false'), access.guard('name_word', 'false');
GRANT SELECT ON patient_word, name_word TO caregraph_search;
DROP INDEX patient_search_trigram;
-- What the trigger below deletes by; the primary key leads with the facility.
CREATE INDEX patient_search_of_patient ON patient_search (patient_id);

CREATE OR REPLACE FUNCTION refresh_patient_search() RETURNS trigger LANGUAGE plpgsql SET search_path = clinical, pg_temp AS $$
BEGIN
    WITH gone AS (
        DELETE FROM patient_search WHERE patient_id IN (SELECT patient_id FROM changed) RETURNING *
    )
    DELETE FROM patient_word AS w
    USING gone, string_to_table(gone.name, ' ') AS one
    WHERE w.facility_id = gone.facility_id AND w.word = one AND w.patient_id = gone.patient_id AND w.position = gone.position;
    INSERT INTO patient_search (facility_id, patient_id, position, name)
    SELECT r.facility_id, r.patient_id, n.position,
           normal_name(concat_ws(' ', array_to_string(n.given, ' '), n.family, CASE WHEN n.family IS NULL THEN n.text END))
    FROM registration AS r
    JOIN patient_name AS n ON n.patient_id = r.patient_id
    WHERE r.patient_id IN (SELECT patient_id FROM changed);
    PERFORM index_words(ARRAY(SELECT DISTINCT patient_id FROM changed));
    RETURN NULL;
END $$;

-- Writes the words of these patients' names. In order, so that two writers of the same new words do not lock each other.
CREATE FUNCTION index_words(patients uuid[]) RETURNS void LANGUAGE sql SET search_path = clinical, pg_temp AS $$
    INSERT INTO name_word (word)
    SELECT DISTINCT one COLLATE "C" AS word
    FROM unnest(patients) AS of_patient
    JOIN patient_search AS s ON s.patient_id = of_patient
    CROSS JOIN string_to_table(s.name, ' ') AS one
    WHERE one <> ''
    ORDER BY word
    ON CONFLICT DO NOTHING;
    INSERT INTO patient_word (facility_id, word, patient_id, position)
    SELECT DISTINCT s.facility_id, one, s.patient_id, s.position
    FROM unnest(patients) AS of_patient
    JOIN patient_search AS s ON s.patient_id = of_patient
    CROSS JOIN string_to_table(s.name, ' ') AS one
    WHERE one <> '';
$$;
ALTER TABLE patient_search NO FORCE ROW LEVEL SECURITY;
ALTER TABLE patient_word NO FORCE ROW LEVEL SECURITY;
ALTER TABLE name_word NO FORCE ROW LEVEL SECURITY;
SELECT index_words(ARRAY(SELECT DISTINCT patient_id FROM patient_search));
ALTER TABLE patient_search FORCE ROW LEVEL SECURITY;
ALTER TABLE patient_word FORCE ROW LEVEL SECURITY;
ALTER TABLE name_word FORCE ROW LEVEL SECURITY;
RESET ROLE;

-- The next two have no settings of their own, so that they become part of the statement that calls them.

-- Patients of the caller's facility one of whose names has, for every word that was asked, a word that begins with it, or
-- whose number begins with the one given: 10000 where all are the whole, else 9000. A patient may come twice.
CREATE FUNCTION access.begun(asked text[], number text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 1000 AS $$
    SELECT w.patient_id, CASE WHEN w.word = asked[1] THEN 10000 ELSE 9000 END
    FROM clinical.patient_word AS w
    WHERE cardinality(asked) = 1 AND w.facility_id = (SELECT access.facility_id())
        AND w.word >= asked[1] AND w.word < asked[1] || '{'
    UNION ALL
    SELECT w.patient_id, CASE WHEN bit_or((w.word = a.word)::int << a.place::int) = (2 << cardinality(asked)) - 2 THEN 10000 ELSE 9000 END
    FROM unnest(asked) WITH ORDINALITY AS a (word, place)
    CROSS JOIN LATERAL (
        SELECT w.patient_id, w.position, w.word
        FROM clinical.patient_word AS w
        WHERE w.facility_id = (SELECT access.facility_id()) AND w.word >= a.word AND w.word < a.word || '{'
        OFFSET 0
    ) AS w
    WHERE cardinality(asked) > 1
    GROUP BY w.patient_id, w.position
    HAVING bit_or(1 << a.place::int) = (2 << cardinality(asked)) - 2
    UNION ALL
    SELECT r.patient_id, CASE WHEN lower(r.mrn) = number THEN 10000 ELSE 9000 END
    FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id())
        AND lower(r.mrn) ~>=~ number AND lower(r.mrn) ~<~ (number || U&'\FFFF')
$$;

-- Names whose words resemble or begin what was asked, likewise: resemblance by trigrams gives up to 7000. Words that
-- resemble are few, and each is one place of the facility's index.
CREATE FUNCTION access.resembled(asked text[]) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp SET pg_trgm.word_similarity_threshold = 0.4 AS $$
    WITH alike AS MATERIALIZED (
        SELECT a.word AS meant, n.word, (10000 * access.term_score(a.word, n.word))::int AS score
        FROM unnest(asked) AS a (word)
        CROSS JOIN LATERAL (
            SELECT n.word FROM clinical.name_word AS n WHERE n.word OPERATOR(public.%>) a.word
            UNION
            SELECT n.word FROM clinical.name_word AS n WHERE n.word >= a.word AND n.word < a.word || '{'
        ) AS n
    )
    SELECT n.patient_id, min(n.score)
    FROM (
        SELECT p.patient_id, p.position, max(k.score) AS score
        FROM alike AS k
        CROSS JOIN LATERAL (
            SELECT w.patient_id, w.position
            FROM clinical.patient_word AS w
            WHERE w.facility_id = (SELECT access.facility_id()) AND w.word = k.word
            OFFSET 0
        ) AS p
        GROUP BY p.patient_id, p.position, k.meant
    ) AS n
    GROUP BY n.patient_id, n.position
    HAVING count(*) = cardinality(asked)
$$;

-- The same of patients born in a month, who are so few that their names are read: by day 10000 of 10000, else 7500.
CREATE FUNCTION access.born(asked text[], number text, birth text) RETURNS TABLE (patient_id uuid, score int)
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT m.id, round(m.score * CASE WHEN m.birth_date = birth THEN 1.0 ELSE 0.75 END)::int
    FROM (
        SELECT p.id, p.birth_date, CASE WHEN lower(r.mrn) = number THEN 10000 WHEN starts_with(lower(r.mrn), number) THEN 9000
            WHEN cardinality(asked) = 0 AND number IS NULL THEN 10000 ELSE (
                SELECT max((
                    SELECT min((SELECT max(10000 * access.term_score(a.word, one)) FROM string_to_table(s.name, ' ') AS one))
                    FROM unnest(asked) AS a (word)))
                FROM clinical.patient_search AS s
                WHERE s.facility_id = (SELECT access.facility_id()) AND s.patient_id = p.id) END AS score
        FROM clinical.patient AS p
        CROSS JOIN LATERAL (
            SELECT r.mrn FROM clinical.registration AS r
            WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = p.id
            OFFSET 0
        ) AS r
        WHERE left(p.birth_date, 7) = left(birth, 7)
    ) AS m
    WHERE m.score > 0
$$;

-- Patients whom the caller finds: all words must begin some word of one name, in any order, or resemble one, or the one
-- term be the medical record number or its beginning; a birth date narrows to its month, and one that is right but for
-- the day (an estimated day) lowers the score. Best first, then by id.
--
-- What only resembles is looked for where what begins so does not fill the page. With a birth date no list of names is
-- read: the month narrows more than any name.
CREATE OR REPLACE FUNCTION access.search_patients(terms text[], birth text, before_score numeric, before_id uuid, rows_max int)
RETURNS TABLE (patient_id uuid, score numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    asked CONSTANT text[] := ARRAY(
        SELECT DISTINCT word COLLATE "C" FROM unnest(terms) AS term, string_to_table(clinical.normal_name(term), ' ') AS word
        WHERE word <> '');
    number CONSTANT text := CASE WHEN cardinality(terms) = 1 THEN lower(terms[1]) END;
    finds_all CONSTANT boolean := access.finds_all();
    finds_denied CONSTANT boolean := access.finds_denied();
    before CONSTANT int := before_score * 10000;
    given bigint;
BEGIN
    RETURN QUERY
        SELECT m.patient_id, round(m.score / 10000.0, 4)
        FROM (
            SELECT f.patient_id, max(f.score) AS score
            FROM (
                SELECT * FROM access.begun(asked, number) WHERE birth IS NULL
                UNION ALL
                SELECT * FROM access.born(asked, number, birth) WHERE birth IS NOT NULL
            ) AS f
            GROUP BY f.patient_id
        ) AS m
        WHERE (m.score, m.patient_id) < (before, before_id)
            AND (finds_all OR m.patient_id IN (SELECT access.reached_by(access.context())))
            AND (finds_denied OR m.patient_id NOT IN (SELECT access.denied_to(access.context())))
        ORDER BY m.score DESC, m.patient_id DESC
        LIMIT rows_max;
    GET DIAGNOSTICS given = ROW_COUNT;
    IF birth IS NULL AND given < rows_max THEN
        RETURN QUERY
            SELECT m.patient_id, round(m.score / 10000.0, 4)
            FROM (SELECT f.patient_id, max(f.score) AS score FROM access.resembled(asked) AS f GROUP BY f.patient_id) AS m
            WHERE m.score < 9000 AND (m.score, m.patient_id) < (before, before_id)
                AND (number IS NULL OR NOT EXISTS (
                    SELECT FROM access.begun('{}', number) AS n WHERE n.patient_id = m.patient_id))
                AND (finds_all OR m.patient_id IN (SELECT access.reached_by(access.context())))
                AND (finds_denied OR m.patient_id NOT IN (SELECT access.denied_to(access.context())))
            ORDER BY m.score DESC, m.patient_id DESC
            LIMIT rows_max - given;
    END IF;
END $$;
ALTER FUNCTION access.begun(text[], text) OWNER TO caregraph_search;
ALTER FUNCTION access.resembled(text[]) OWNER TO caregraph_search;
ALTER FUNCTION access.born(text[], text, text) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.begun(text[], text), access.resembled(text[]), access.born(text[], text, text) FROM PUBLIC;
