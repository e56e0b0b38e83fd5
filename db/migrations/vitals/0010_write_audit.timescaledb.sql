-- Each statement that writes readings is recorded, without its rows and their number: a hypertable has no transition
-- tables, and a trigger for each row would cost more than the reading.

SET ROLE caregraph_owner;

CREATE FUNCTION audit.record_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    PERFORM audit.ensure_month('audit.change', at);
    INSERT INTO audit.change (occurred_at, transaction_id, actor, login, table_name, operation)
    VALUES (at, pg_current_xact_id(), audit.actor(), session_user, TG_TABLE_NAME, TG_OP);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit.record_statement() FROM PUBLIC;

CREATE TRIGGER audit_write AFTER INSERT OR UPDATE OR DELETE ON vitals.vital_sign
    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_statement();
RESET ROLE;
