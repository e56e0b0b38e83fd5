-- real server only
-- Releases for people who log in to Snowflake themselves, and for accounts that a share reaches: an administrator maps their role,
-- or the share, to a project, and grants them the secure views of its releases (db/warehouse_release.py; docs/decisions/0018 has
-- the statements). This policy empties the views as soon as the project is not open, whoever was granted them.

CREATE TABLE IF NOT EXISTS stored_project_grantee (
    grantee VARCHAR(255) NOT NULL,
    project_id VARCHAR(36) NOT NULL
);

CREATE ROW ACCESS POLICY IF NOT EXISTS open_project AS (project VARCHAR, made_by VARCHAR) RETURNS BOOLEAN ->
    EXISTS (
        SELECT 1
        FROM stored_project_grantee AS g
        JOIN stored_project_open AS o ON o.project_id = g.project_id
        WHERE g.grantee = COALESCE(INVOKER_SHARE(), CURRENT_ROLE()) AND g.project_id = project AND o.method = made_by
    );

ALTER TAG phi_kind ADD ALLOWED_VALUES 'NAME', 'GEOGRAPHY', 'DATE', 'PHONE', 'FAX', 'EMAIL', 'SSN', 'MEDICAL_RECORD_NUMBER',
    'HEALTH_PLAN_NUMBER', 'ACCOUNT_NUMBER', 'LICENSE_NUMBER', 'VEHICLE', 'DEVICE', 'URL', 'IP_ADDRESS', 'BIOMETRIC', 'PHOTO',
    'OTHER_IDENTIFIER', 'FREE_TEXT';

CREATE OR REPLACE SECURE VIEW research_release_of_role
    WITH ROW ACCESS POLICY open_project ON (project_id, method)
AS
SELECT d.project_id, d.method, d.title, v.id, v.version, v.sort_time, v.as_of, v.row_count, v.sha256, v.tables, v.report, v.lineage
FROM stored_dataset_version AS v
JOIN stored_dataset AS d ON d.id = v.dataset_id
WHERE d.project_id IS NOT NULL;
