-- What PostgreSQL lets everybody do that a profile's login has no use for: objects of its own, large objects, a look at
-- other sessions. Where the administrator does not own what is revoked here, the server warns and leaves it as it is.

-- A temporary function in WHERE sees what it is given before other conditions are looked at; a temporary table shadows. A
-- template, which the PostgreSQL in WebAssembly of the tests works in, can't be altered there.
DO $$
BEGIN
    IF NOT (SELECT datistemplate FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO caregraph_worker', current_database());  -- stages of its bulk writes
    END IF;
END $$;

-- Code of one's own in a DO block; functions that are there run as before.
REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql, sql TO caregraph_owner;

-- Large objects: a place to leave what one read for somebody of another facility. Activity: statements of all sessions of
-- the same login, with their contexts. Signals: other people's sessions of the same login can be ended. Snapshots and
-- prepared transactions hold back what vacuum may remove.
DO $$
DECLARE
    closed regprocedure;
BEGIN
    FOR closed IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^(lo_|lowrite$|loread$)'
                OR proname IN ('pg_stat_get_activity', 'pg_stat_get_backend_activity', 'pg_terminate_backend',
                    'pg_cancel_backend', 'pg_export_snapshot'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', closed);
    END LOOP;
    GRANT EXECUTE ON FUNCTION pg_stat_get_activity(int) TO pg_read_all_stats;
END $$;
