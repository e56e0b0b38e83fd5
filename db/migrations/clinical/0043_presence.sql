-- Who has which chart open now, and why an appointment was cancelled.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- Told anew every 20 seconds by each client that shows a chart, and worth nothing a minute later: so it is not logged (a
-- crash empties it, clients tell it again), not audited and not fed. What was read of the chart, the audit has.
CREATE UNLOGGED TABLE chart_presence (
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    subject text NOT NULL,
    role text NOT NULL,
    provider_id uuid,
    editing boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (facility_id, patient_id, subject)
);
COMMENT ON COLUMN chart_presence.since IS 'when it was opened, for as long as nobody was silent for a minute';
CREATE INDEX chart_presence_of_subject ON chart_presence (facility_id, subject);
SELECT access.declare('chart_presence', 'facility_id NONE, patient_id NONE, subject NONE, role NONE, provider_id NONE, editing NONE,
    since NONE, seen_at NONE');
SELECT access.guard('chart_presence');
SELECT access.guard_more('chart_presence', 'facility_id = (SELECT access.facility_id())
    AND ((SELECT access.charts_open(value) FROM access.policy_proof)
        OR (patient_id IN (SELECT access.apart(value) FROM access.policy_proof)) <> (SELECT access.sees_all()))');
-- One's own alone: nobody says for another who is there.
SELECT access.open_to_writers('chart_presence',
    'facility_id = (SELECT access.facility_id()) AND subject = (SELECT (access.context()).subject)',
    'facility_id = (SELECT access.facility_id()) AND subject = (SELECT (access.context()).subject)
        AND access.chart_is_open(patient_id)');
GRANT DELETE ON chart_presence TO caregraph_writer;
CREATE POLICY writer_delete ON chart_presence FOR DELETE TO caregraph_writer
    USING ((SELECT access.by_application()) AND facility_id = (SELECT access.facility_id())
        AND subject = (SELECT (access.context()).subject));

ALTER TABLE appointment ADD COLUMN cancelation_reason jsonb CHECK (jsonb_typeof(cancelation_reason) = 'object');
SELECT access.declare('appointment', 'cancelation_reason CLINICAL');
RESET ROLE;
