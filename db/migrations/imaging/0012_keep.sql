-- An uploaded instance becomes part of its study: one statement for the caller who completes it and for the sweeper.

GRANT USAGE ON SCHEMA imaging TO caregraph_search;
GRANT SELECT ON imaging.imaging_study, imaging.imaging_series, imaging.imaging_instance TO caregraph_search;

-- Where an instance of these UIDs belongs at a facility: the rows that have them. `taken` says that one of them is already
-- that of another patient's study, or hangs under another parent; whose, nobody is told.
CREATE FUNCTION imaging.place_of(at uuid, of_patient uuid, uids text[], OUT taken boolean, OUT ids uuid[], OUT s3_key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF session_user <> 'caregraph_worker' AND NOT (access.by_application() AND at = access.facility_id()) THEN
        RAISE insufficient_privilege;
    END IF;
    taken := EXISTS (
            SELECT FROM imaging.imaging_study AS t WHERE t.facility_id = at AND t.study_uid = uids[1] AND t.patient_id <> of_patient)
        OR EXISTS (
            SELECT FROM imaging.imaging_series AS s
            JOIN imaging.imaging_study AS t ON t.facility_id = s.facility_id AND t.id = s.imaging_study_id
            WHERE s.facility_id = at AND s.series_uid = uids[2] AND t.study_uid IS DISTINCT FROM uids[1])
        OR EXISTS (
            SELECT FROM imaging.imaging_instance AS i
            JOIN imaging.imaging_series AS s ON s.facility_id = i.facility_id AND s.id = i.imaging_series_id
            WHERE i.facility_id = at AND i.instance_uid = uids[3] AND s.series_uid IS DISTINCT FROM uids[2]);
    IF NOT taken THEN
        SELECT ARRAY[t.id, s.id, i.id], i.s3_key INTO ids, s3_key
        FROM imaging.imaging_study AS t
        LEFT JOIN imaging.imaging_series AS s ON s.facility_id = at AND s.imaging_study_id = t.id AND s.series_uid = uids[2]
        LEFT JOIN imaging.imaging_instance AS i ON i.facility_id = at AND i.imaging_series_id = s.id AND i.instance_uid = uids[3]
        WHERE t.facility_id = at AND t.study_uid = uids[1]
        ORDER BY i.id, s.id, t.id
        LIMIT 1;
    END IF;
END $$;
ALTER FUNCTION imaging.place_of(uuid, uuid, text[]) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION imaging.place_of(uuid, uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION imaging.place_of(uuid, uuid, text[]) TO caregraph_writer, caregraph_worker;

-- Makes or extends study, series and instance of an upload that is being completed, whose object stands at `key` already;
-- once, however often it is asked. `ids` are those of study, series and instance, by which the key is named. False where
-- the UIDs belong elsewhere; an error of class 40 where somebody gave them to other rows meanwhile: ask again.
SET ROLE caregraph_owner;
CREATE FUNCTION imaging.keep_upload(kept uuid, ids uuid[], key text, uids text[], header jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    upload imaging.imaging_upload;
    place record;
BEGIN
    SELECT * INTO upload FROM imaging.imaging_upload WHERE id = kept AND state = 'completing' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('study ' || upload.facility_id || ' ' || uids[1], 0));
    SELECT * INTO place FROM imaging.place_of(upload.facility_id, upload.patient_id, uids);
    IF place.taken THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM unnest(ids, place.ids) AS both_ids (ours, theirs) WHERE ours <> theirs) THEN
        RAISE serialization_failure;
    END IF;
    INSERT INTO imaging.imaging_study (id, facility_id, patient_id, encounter_id, study_uid, accession_number, status, started,
        description, sort_time)
    VALUES (ids[1], upload.facility_id, upload.patient_id, upload.encounter_id, uids[1], header ->> 'accession_number',
        'available', header ->> 'started', header ->> 'description', (header ->> 'sort_time')::timestamptz)
    ON CONFLICT (id) DO NOTHING;
    INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id, series_uid, number, modality, description)
    VALUES (ids[2], upload.facility_id, ids[1], uids[2], (header ->> 'series_number')::int, header ->> 'modality',
        header ->> 'series_description')
    ON CONFLICT (id) DO NOTHING;
    INSERT INTO imaging.imaging_instance AS i (id, facility_id, imaging_series_id, instance_uid, sop_class, number, s3_key,
        size_bytes, storage_class, stored_at)
    VALUES (ids[3], upload.facility_id, ids[2], uids[3], header ->> 'sop_class', (header ->> 'number')::int, key,
        upload.size_bytes, 'STANDARD', clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET s3_key = excluded.s3_key, size_bytes = excluded.size_bytes,
        storage_class = excluded.storage_class, stored_at = excluded.stored_at
    WHERE i.s3_key IS NULL;
    -- What a source said of instances that it did not send stays said.
    UPDATE imaging.imaging_series AS s
    SET number_of_instances = greatest(s.number_of_instances, (
        SELECT count(*) FROM imaging.imaging_instance AS i WHERE i.facility_id = s.facility_id AND i.imaging_series_id = s.id))
    WHERE s.id = ids[2];
    UPDATE imaging.imaging_study AS t
    SET number_of_series = greatest(t.number_of_series, counted.series),
        number_of_instances = greatest(t.number_of_instances, counted.instances),
        modality = ARRAY(SELECT DISTINCT one FROM unnest(t.modality || (header ->> 'modality')) AS one WHERE one IS NOT NULL ORDER BY one),
        status = CASE t.status WHEN 'registered' THEN 'available' ELSE t.status END
    FROM (
        SELECT count(*) AS series, sum(s.number_of_instances) AS instances
        FROM imaging.imaging_series AS s WHERE s.facility_id = upload.facility_id AND s.imaging_study_id = ids[1]
    ) AS counted
    WHERE t.id = ids[1];
    UPDATE imaging.imaging_upload
    SET state = 'completed', imaging_study_id = ids[1], leased_until = NULL WHERE id = kept;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION imaging.keep_upload(uuid, uuid[], text, text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION imaging.keep_upload(uuid, uuid[], text, text[], jsonb) TO caregraph_writer, caregraph_worker;
RESET ROLE;
