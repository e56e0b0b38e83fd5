-- Writes of callers. A transaction that writes goes on as the writer role of the login's profile (db/roles.py), which may
-- insert and update what db/policy.toml lists for it, of charts that are open to the caller. It reads base tables, unmasked,
-- so that its policies also demand the application's proof: who logs in with a password alone reads and writes nothing there.

GRANT USAGE ON SCHEMA access TO caregraph_writer;

-- Opens a table to writers: they see the rows of `visible`, and what they write must satisfy `written`. Which of them may
-- insert and update, db/migrate.py grants from the policy file. Conditions name no set: writes are of few rows.
CREATE FUNCTION access.open_to_writers(opened regclass, visible text, written text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('GRANT SELECT ON %s TO caregraph_writer', opened);
    EXECUTE format('CREATE POLICY writer_select ON %s FOR SELECT TO caregraph_writer USING ((SELECT access.by_application()) AND (%s))', opened, visible);
    EXECUTE format('CREATE POLICY writer_insert ON %s FOR INSERT TO caregraph_writer WITH CHECK ((SELECT access.by_application()) AND (%s))', opened, written);
    EXECUTE format('CREATE POLICY writer_update ON %s FOR UPDATE TO caregraph_writer USING ((SELECT access.by_application()) AND (%s)) WITH CHECK ((SELECT access.by_application()) AND (%s))', opened, visible, written);
END $$;
REVOKE ALL ON FUNCTION access.open_to_writers(regclass, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.open_to_writers(regclass, text, text) TO caregraph_owner;

-- What a write came to, by the key that its client gave: the same key again gets the same answer (IETF draft-ietf-httpapi-
-- idempotency-key-header). Ids and codes only; the input is kept as an HMAC, from which no value can be guessed.
SET ROLE caregraph_owner;
CREATE TABLE access.idempotency_key (
    facility_id uuid NOT NULL,
    subject text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    operation text NOT NULL,
    input bytea NOT NULL CHECK (length(input) = 32),
    outcome jsonb,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (facility_id, subject, key)
);
COMMENT ON COLUMN access.idempotency_key.outcome IS 'NULL only inside the transaction that claimed the key';
CREATE INDEX idempotency_key_by_age ON access.idempotency_key (claimed_at);
RESET ROLE;
ALTER TABLE access.idempotency_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.idempotency_key FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON access.idempotency_key TO caregraph_worker USING (true);
GRANT SELECT, DELETE ON access.idempotency_key TO caregraph_worker;
GRANT INSERT, UPDATE ON access.idempotency_key TO caregraph_writer;
SELECT access.open_to_writers('access.idempotency_key',
    'facility_id = (SELECT access.facility_id()) AND subject = (SELECT (access.context()).subject)',
    'facility_id = (SELECT access.facility_id()) AND subject = (SELECT (access.context()).subject)');
