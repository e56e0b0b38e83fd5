-- Events: who saw whose data, when, why, and what was refused. Append-only, hash-chained, in monthly partitions, without
-- a value of any patient. FHIR R4 AuditEvent; IHE BALP; 45 CFR 164.312(b), 164.528.
--
-- The API's writer may call two functions (append, add_checkpoint) and nothing else.

SET ROLE caregraph_owner;
SET search_path = audit, public;

CREATE TABLE event (
    seq bigint NOT NULL CHECK (seq > 0),
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('QUERY', 'MUTATION', 'SUBSCRIPTION', 'PRESIGN', 'REFUSAL', 'LOGIN_FAILED', 'BREAK_GLASS', 'EXCHANGE', 'EXPORT')),
    subject text,
    role text,
    profile text,
    purpose text,
    facility_id uuid,
    home_facility_id uuid,
    document text CHECK (document ~ '^[0-9a-f]{64}$'),
    shown text[] NOT NULL,
    masked text[] NOT NULL,
    patients uuid[] NOT NULL,
    result text NOT NULL,
    grants uuid[] NOT NULL,
    request_id text NOT NULL,
    client_ip inet,
    user_agent text CHECK (user_agent ~ '^[0-9a-f]{64}$'),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (seq, occurred_at)
) PARTITION BY RANGE (occurred_at);
COMMENT ON COLUMN event.occurred_at IS 'when it was recorded, just before the bytes left; grows strictly with seq';
COMMENT ON COLUMN event.document IS 'SHA-256 of the GraphQL document; not the operation''s name, which a client chooses';
COMMENT ON COLUMN event.shown IS 'PHI kinds of the selected fields that were shown';
COMMENT ON COLUMN event.masked IS 'PHI kinds of the selected fields that were masked or hidden';
COMMENT ON COLUMN event.grants IS 'break-glass grants in force for these patients; the reason stays in the grant';
COMMENT ON COLUMN event.user_agent IS 'SHA-256 of what the client calls itself';
CREATE INDEX event_by_id ON event (id);
CREATE INDEX event_of_subject ON event (facility_id, subject, occurred_at);

-- Whose records an event showed: the access log of a patient in one index range.
CREATE TABLE event_patient (
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (facility_id, patient_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX event_patient_by_seq ON event_patient (seq);

-- Where the chain stands; its row lock is what lets one writer at a time in.
CREATE TABLE chain_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    occurred_at timestamptz NOT NULL
);
INSERT INTO chain_head (seq, hash, occurred_at) VALUES (0, decode(repeat('00', 32), 'hex'), '-infinity');

-- Places of the chain, signed by the application with a key that this server never has (db/audit_chain.py).
CREATE TABLE checkpoint (
    seq bigint PRIMARY KEY,
    hash bytea NOT NULL,
    signed_at timestamptz NOT NULL,
    signature bytea NOT NULL
);

-- Months that were taken out after their retention, and where the chain goes on.
CREATE TABLE detached (
    month timestamptz NOT NULL,
    table_name text NOT NULL,
    last_seq bigint,
    last_hash bytea,
    detached_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    detached_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (month, table_name)
);

SELECT append_only('audit.event');
SELECT append_only('audit.event_patient');
SELECT append_only('audit.checkpoint');
SELECT append_only('audit.detached');
SELECT ensure_months(2);

-- What is hashed of an event: a JSON array of every column but the hash, as jsonb prints it (see db/audit_chain.py).
CREATE FUNCTION canonical(e event) RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT convert_to(jsonb_build_array(e.seq, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.id, e.kind, e.subject, e.role,
        e.profile, e.purpose, e.facility_id, e.home_facility_id, e.document, e.shown, e.masked, e.patients, e.result, e.grants,
        e.request_id, host(e.client_ip), e.user_agent)::text, 'UTF8')
$$;

-- Break-glass grants of a subject for these patients, in force now.
CREATE FUNCTION grants_of(e event) RETURNS uuid[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(g.id ORDER BY g.id), '{}')
    FROM clinical.break_glass_grant AS g
    WHERE g.facility_id = e.facility_id AND g.subject = e.subject AND g.profile = e.profile
        AND g.expires_at > clock_timestamp() AND g.closed_at IS NULL AND g.patient_id = ANY (e.patients)
$$;

-- Appends a batch, in its order, and gives the head of the chain. An event that is there already (a retry after an answer
-- that got lost) is left out: retries come within the day.
CREATE FUNCTION append(events jsonb) RETURNS TABLE (seq bigint, hash bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head audit.chain_head;
    e audit.event;
    prepared timestamptz;
BEGIN
    SELECT * INTO STRICT head FROM audit.chain_head FOR UPDATE;
    FOR e IN SELECT r.* FROM jsonb_array_elements(events) AS one, jsonb_populate_record(NULL::audit.event, one) AS r LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM audit.event AS known WHERE known.id = e.id AND known.occurred_at > head.occurred_at - interval '1 day');
        e.seq := head.seq + 1;
        e.occurred_at := greatest(clock_timestamp(), head.occurred_at + interval '1 microsecond');
        e.grants := audit.grants_of(e);
        e.hash := sha256(head.hash || audit.canonical(e));
        IF audit.month_of(e.occurred_at) IS DISTINCT FROM prepared THEN
            PERFORM audit.ensure_month('audit.event', e.occurred_at), audit.ensure_month('audit.event_patient', e.occurred_at);
            prepared := audit.month_of(e.occurred_at);
        END IF;
        INSERT INTO audit.event SELECT e.*;
        INSERT INTO audit.event_patient SELECT e.facility_id, p, e.occurred_at, e.seq FROM unnest(e.patients) AS p;
        head := (true, e.seq, e.hash, e.occurred_at)::audit.chain_head;
    END LOOP;
    UPDATE audit.chain_head AS c SET seq = head.seq, hash = head.hash, occurred_at = head.occurred_at WHERE c.seq < head.seq;
    RETURN QUERY SELECT head.seq, head.hash;
END $$;

CREATE FUNCTION add_checkpoint(at_seq bigint, at_hash bytea, at_time timestamptz, of_application bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO audit.checkpoint (seq, hash, signed_at, signature) VALUES (at_seq, at_hash, at_time, of_application)
    ON CONFLICT DO NOTHING
$$;

-- Takes a month out after six years (45 CFR 164.316(b)(2)(i)): its tables stay, as tables of their own, until an
-- administrator archives and drops them. For the owner alone; what was done is kept in audit.detached.
CREATE FUNCTION detach_month(at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamptz := audit.month_of(at);
    parent text;
    name text;
BEGIN
    IF first > now() - interval '6 years 1 month' THEN
        RAISE EXCEPTION 'the audit is kept for six years';
    END IF;
    FOREACH parent IN ARRAY ARRAY['event', 'event_patient', 'change'] LOOP
        name := parent || to_char(first AT TIME ZONE 'UTC', '_YYYY_MM');
        CONTINUE WHEN to_regclass('audit.' || name) IS NULL;
        INSERT INTO audit.detached (month, table_name, last_seq, last_hash)
        SELECT first, name, last.seq, last.hash
        FROM (SELECT) AS always
        LEFT JOIN LATERAL (
            SELECT e.seq, e.hash FROM audit.event AS e
            WHERE parent = 'event' AND audit.month_of(e.occurred_at) = first ORDER BY e.seq DESC LIMIT 1) AS last ON true;
        EXECUTE format('ALTER TABLE audit.%I DETACH PARTITION audit.%I', parent, name);
    END LOOP;
END $$;

RESET ROLE;
GRANT SELECT ON clinical.break_glass_grant TO caregraph_search;
GRANT USAGE ON SCHEMA audit TO caregraph_search, caregraph_audit;
ALTER FUNCTION audit.grants_of(audit.event) OWNER TO caregraph_search;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.grants_of(audit.event) TO caregraph_owner;
GRANT EXECUTE ON FUNCTION audit.append(jsonb), audit.add_checkpoint(bigint, bytea, timestamptz, bytea) TO caregraph_audit;

-- Accesses to the records of patients at the caller's facility, newest first, up to rows_max of each: for its privacy
-- officers, and for a patient about oneself. Also those from another facility, by exchange. Nothing for anybody else.
CREATE FUNCTION access.accesses_of_patients(of_patients uuid[], rows_max int, before timestamptz, since timestamptz, until timestamptz)
RETURNS TABLE (patient_id uuid, id uuid, sort_time timestamptz, kind text, subject text, role text, purpose text,
    facility_id uuid, home_facility_id uuid, shown text[], masked text[], result text, grants uuid[], request_id text, patients uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT parents.id, accesses.*, ARRAY[parents.id]
    FROM access.context() AS c
    CROSS JOIN unnest(of_patients) AS parents (id)
    CROSS JOIN LATERAL (
        SELECT e.id, e.occurred_at, e.kind, e.subject, e.role, e.purpose, e.facility_id, e.home_facility_id, e.shown,
            e.masked, e.result, e.grants, e.request_id
        FROM audit.event_patient AS p
        JOIN audit.event AS e ON e.seq = p.seq AND e.occurred_at = p.occurred_at
        WHERE p.facility_id = c.facility_id AND p.patient_id = parents.id
            AND p.occurred_at < before AND p.occurred_at >= since AND p.occurred_at < until
        ORDER BY p.occurred_at DESC
        LIMIT rows_max
    ) AS accesses
    WHERE c.profile = 'privacy_officer' OR c.profile = 'patient' AND c.patient_id = parents.id
    ORDER BY accesses.occurred_at DESC
$$;

-- All that a subject saw or was refused at the caller's facility, newest first: for its privacy officers only.
CREATE FUNCTION access.accesses_of_subject(of_subject text, rows_max int, before timestamptz, since timestamptz, until timestamptz)
RETURNS TABLE (id uuid, sort_time timestamptz, kind text, subject text, role text, purpose text, facility_id uuid,
    home_facility_id uuid, shown text[], masked text[], result text, grants uuid[], request_id text, patients uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.id, e.occurred_at, e.kind, e.subject, e.role, e.purpose, e.facility_id, e.home_facility_id, e.shown,
        e.masked, e.result, e.grants, e.request_id, e.patients
    FROM audit.event AS e
    WHERE e.facility_id = (SELECT c.facility_id FROM access.context() AS c WHERE c.profile = 'privacy_officer')
        AND e.subject = of_subject AND e.occurred_at < before AND e.occurred_at >= since AND e.occurred_at < until
    ORDER BY e.occurred_at DESC
    LIMIT rows_max
$$;
ALTER FUNCTION access.accesses_of_patients(uuid[], int, timestamptz, timestamptz, timestamptz) OWNER TO caregraph_owner;
ALTER FUNCTION access.accesses_of_subject(text, int, timestamptz, timestamptz, timestamptz) OWNER TO caregraph_owner;
