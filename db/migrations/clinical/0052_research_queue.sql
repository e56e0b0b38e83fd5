-- An extraction that is asked for is put into the queue in the same transaction; see db/queue.py for the schema of the queue.

CREATE FUNCTION clinical.queue_extraction() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = queue, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM queue.procrastinate_defer_jobs_v1(ARRAY[
        ('queue', 'research.begin', 0, NULL, NEW.id::text, jsonb_build_object('extraction', NEW.id), NULL)
    ]::queue.procrastinate_job_to_defer_v1[]);
    RETURN NULL;
END $$;
ALTER FUNCTION clinical.queue_extraction() OWNER TO caregraph_research;
REVOKE ALL ON FUNCTION clinical.queue_extraction() FROM PUBLIC;
CREATE TRIGGER queue AFTER INSERT ON clinical.research_extraction FOR EACH ROW EXECUTE FUNCTION clinical.queue_extraction();
