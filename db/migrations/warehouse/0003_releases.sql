-- Datasets of records: of one project, in releases whose tables are named stored_release_{32 hex}_{table}. A release is seen once
-- its row is in stored_dataset_version, and only by members of a project that is open at that moment (db/warehouse.py).
-- tables, report and lineage are JSON, kept as text: VARIANT would sort its keys, and a digest of it would not hold.

ALTER TABLE stored_dataset ADD COLUMN IF NOT EXISTS project_id VARCHAR(36);

ALTER TABLE stored_dataset_version ADD COLUMN IF NOT EXISTS tables VARCHAR;

ALTER TABLE stored_dataset_version ADD COLUMN IF NOT EXISTS report VARCHAR;

ALTER TABLE stored_dataset_version ADD COLUMN IF NOT EXISTS lineage VARCHAR;

-- Which methods of which projects are open, as PostgreSQL last said: for people who log in to Snowflake themselves. Callers of
-- the graph are not shown by it, but by what PostgreSQL says at that moment.
CREATE TABLE IF NOT EXISTS stored_project_open (
    project_id VARCHAR(36) NOT NULL,
    method VARCHAR(16) NOT NULL
);
