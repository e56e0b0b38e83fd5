-- Research datasets: what they are, who may see them, their versions, and the published cells of each version.
-- Aggregates only: no row describes a patient. Rows of a version never change, so that every version stays readable for good
-- (Time Travel forgets after 90 days at most). Statements are safe to run twice: Snowflake has no transactional DDL.
-- Only db/warehouse.py reads the stored_* tables for a caller; loaders see them narrowed to the caller.

CREATE TABLE IF NOT EXISTS stored_dataset (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    title VARCHAR(200) NOT NULL,
    description VARCHAR(2000) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    method VARCHAR(64) NOT NULL,
    threshold NUMBER(4, 0) NOT NULL,
    sort_time TIMESTAMP_TZ NOT NULL
);

CREATE TABLE IF NOT EXISTS stored_dataset_profile (
    dataset_id VARCHAR(36) NOT NULL,
    profile VARCHAR(32) NOT NULL
);

CREATE TABLE IF NOT EXISTS stored_dataset_version (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    dataset_id VARCHAR(36) NOT NULL,
    version NUMBER(9, 0) NOT NULL,
    sort_time TIMESTAMP_TZ NOT NULL,
    as_of VARCHAR(10) NOT NULL,
    row_count NUMBER(18, 0) NOT NULL,
    withheld_count NUMBER(18, 0) NOT NULL,
    sha256 VARCHAR(64) NOT NULL
);

-- facility_id: NULL is the whole network. A dimension that is NULL is a total over it; 'unknown' is a value.
-- patient_count and event_count: NULL where the cell is withheld.
CREATE TABLE IF NOT EXISTS stored_aggregate (
    dataset_id VARCHAR(36) NOT NULL,
    version NUMBER(9, 0) NOT NULL,
    ordinal NUMBER(18, 0) NOT NULL,
    facility_id VARCHAR(36),
    measure VARCHAR(64) NOT NULL,
    code_system VARCHAR(500),
    code VARCHAR(500),
    code_display VARCHAR(2000),
    sex VARCHAR(16),
    age_band VARCHAR(16),
    encounter_class VARCHAR(64),
    calendar_year VARCHAR(8),
    patient_count NUMBER(18, 0),
    event_count NUMBER(18, 0)
);
