-- Whether the demo network was loaded to its end: a row is written last, so that an interrupted load is repeated.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE demo_load (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seed int NOT NULL,
    population int NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);
SELECT access.guard('demo_load', 'false');
RESET ROLE;
