-- real server only
-- What Snowflake has and the embedded warehouse has not: pruning by version, a PHI tag for the catalogue, and a secure view
-- for people who log in to Snowflake themselves, whose role an administrator maps to a facility and a profile.

ALTER TABLE stored_aggregate CLUSTER BY (dataset_id, version);

CREATE TAG IF NOT EXISTS phi_kind ALLOWED_VALUES 'NONE', 'CLINICAL';

ALTER TABLE stored_aggregate SET TAG phi_kind = 'CLINICAL';

CREATE TABLE IF NOT EXISTS stored_role_access (
    role_name VARCHAR(255) NOT NULL,
    facility_id VARCHAR(36) NOT NULL,
    profile VARCHAR(32) NOT NULL
);

CREATE OR REPLACE SECURE VIEW research_aggregate_of_role AS
SELECT a.*
FROM stored_aggregate AS a
JOIN stored_dataset_version AS v ON v.dataset_id = a.dataset_id AND v.version = a.version
WHERE EXISTS (
    SELECT 1
    FROM stored_role_access AS r
    JOIN stored_dataset_profile AS p ON p.profile = r.profile
    WHERE r.role_name = CURRENT_ROLE()
      AND p.dataset_id = a.dataset_id
      AND (a.facility_id IS NULL OR a.facility_id = r.facility_id)
);
