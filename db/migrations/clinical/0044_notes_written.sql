-- Notes are documents of the notes store, which has no triggers. Who writes one tells it here, afterwards: the record gets
-- who and when, and digests of what was there before and after (the text stays in the document, version by version), and
-- the feed its event. Told again, what is recorded already is not recorded twice; a sweeper tells what was not told.

SET ROLE caregraph_owner;

-- `versions`: [{version, actor, before, after}, …] in their order; the number of those that are new here.
CREATE FUNCTION feed.note_written(at_facility uuid, of_patient uuid, note uuid, departments uuid[], versions jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
    made boolean;
    recorded int;
BEGIN
    -- Another's version of the note that is being told now is recorded, or not, before this one looks.
    PERFORM pg_advisory_xact_lock(hashtextextended('note ' || note, 0));
    PERFORM audit.ensure_month('audit.change', at), feed.ensure_day(at);
    WITH written AS (
        INSERT INTO audit.change (occurred_at, transaction_id, actor, login, table_name, operation, row_key, before, after, row_count)
        SELECT at + v.position * interval '1 microsecond', pg_current_xact_id(), v.one ->> 'actor', session_user, 'clinical_note',
            CASE v.one ->> 'version' WHEN '1' THEN 'INSERT' ELSE 'UPDATE' END, note::text,
            nullif(v.one -> 'before', 'null'), v.one -> 'after', 1
        FROM jsonb_array_elements(versions) WITH ORDINALITY AS v (one, position)
        WHERE NOT EXISTS (SELECT FROM audit.change AS c WHERE c.table_name = 'clinical_note' AND c.row_key = note::text
            AND c.after -> 'version' = v.one -> 'version')
        RETURNING operation
    )
    SELECT count(*), bool_or(operation = 'INSERT') INTO recorded, made FROM written;
    IF recorded > 0 THEN
        INSERT INTO feed.event (occurred_at, facility_id, patient_id, department_ids, table_name, operation, row_keys)
        VALUES (at, at_facility, of_patient, departments, 'clinical_note', CASE WHEN made THEN 'INSERT' ELSE 'UPDATE' END, ARRAY[note::text]);
        PERFORM pg_notify('feed', '');
    END IF;
    RETURN recorded;
END $$;

-- The same for a writer, of whom the application proved who it is, about a chart that is open to the caller.
CREATE FUNCTION access.note_written(of_patient uuid, note uuid, departments uuid[], versions jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF access.chart_is_open(of_patient) IS NOT TRUE THEN
        RAISE EXCEPTION 'a write to a chart that is not open' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN feed.note_written(access.facility_id(), of_patient, note, departments, versions);
END $$;

REVOKE ALL ON FUNCTION feed.note_written(uuid, uuid, uuid, uuid[], jsonb), access.note_written(uuid, uuid, uuid[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed.note_written(uuid, uuid, uuid, uuid[], jsonb) TO caregraph_worker;
GRANT EXECUTE ON FUNCTION access.note_written(uuid, uuid, uuid[], jsonb) TO caregraph_writer;
RESET ROLE;
