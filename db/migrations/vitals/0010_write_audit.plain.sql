-- Writes of readings are recorded as counts of each statement and facility: row by row, with before and after, a ward's
-- monitors would write more audit than readings.

SET ROLE caregraph_owner;

CREATE FUNCTION audit.record_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    PERFORM audit.ensure_month('audit.change', at);
    INSERT INTO audit.change (occurred_at, transaction_id, actor, login, table_name, operation, row_key, row_count)
    SELECT at, pg_current_xact_id(), audit.actor(), session_user, TG_TABLE_NAME, TG_OP, w.facility_id::text, count(*)
    FROM written AS w
    GROUP BY w.facility_id;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit.record_count() FROM PUBLIC;

CREATE TRIGGER audit_insert AFTER INSERT ON vitals.vital_sign REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_count();
CREATE TRIGGER audit_update AFTER UPDATE ON vitals.vital_sign REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_count();
CREATE TRIGGER audit_delete AFTER DELETE ON vitals.vital_sign REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_count();
SELECT audit.refuse_truncate('vitals.vital_sign');
RESET ROLE;
