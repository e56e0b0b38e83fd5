-- The layers as before (0007) and cheaper: every table of a statement asks for these.

-- Rules that only functions of the same owner may call, and which have that owner's rights and search path anyway: with
-- neither of their own the planner puts their bodies in the place of the calls.
ALTER FUNCTION access.finds_all_to(access.caller) RESET ALL;
ALTER FUNCTION access.finds_denied_to(access.caller) RESET ALL;
ALTER FUNCTION access.treated(uuid, uuid, uuid) SECURITY INVOKER RESET ALL;
ALTER FUNCTION access.glass_broken(access.caller) SECURITY INVOKER RESET ALL;
ALTER FUNCTION access.exchanged_to(access.caller) SECURITY INVOKER RESET ALL;

-- Patients of the caller's facility whose consent forbids the caller everything.
CREATE OR REPLACE FUNCTION access.denied_to(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT c.patient_id
    FROM clinical.consent_rule AS c
    WHERE c.facility_id = caller.facility_id AND c.type = 'deny' AND c.labels IS NULL AND caller.profile <> 'patient'
        AND access.applies(c, caller, access.purpose_for(caller, c.patient_id IN (SELECT p FROM access.glass_broken(caller) AS p)))
$$;

-- Patients of whom the caller's clearance may differ from the role's.
CREATE OR REPLACE FUNCTION access.excepted_for(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT c.patient_id FROM clinical.consent_rule AS c WHERE c.facility_id = caller.facility_id AND c.labels IS NOT NULL
    UNION ALL SELECT p FROM access.glass_broken(caller) AS p
$$;

-- For the caller of this transaction.
CREATE OR REPLACE FUNCTION access.sees_all() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := access.context_parts();
BEGIN
    RETURN part[7] = 'FACILITY' AND part[9] = '';
END $$;
CREATE OR REPLACE FUNCTION access.finds_all() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    RETURN access.finds_all_to(caller);
END $$;
CREATE OR REPLACE FUNCTION access.finds_denied() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    RETURN access.finds_denied_to(caller);
END $$;
CREATE OR REPLACE FUNCTION access.clearance() RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN string_to_array((access.context_parts())[11], '.');
END $$;

-- For policies, which prove themselves.
CREATE OR REPLACE FUNCTION access.reached(proof uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF proof = (SELECT value FROM access.policy_proof) THEN
        RETURN QUERY SELECT p FROM access.reached_by(access.context()) AS p;
    END IF;
END $$;
CREATE OR REPLACE FUNCTION access.denied(proof uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    RETURN QUERY SELECT p FROM access.denied_to(caller) AS p
        WHERE proof = (SELECT value FROM access.policy_proof);
END $$;
CREATE OR REPLACE FUNCTION access.excepted(proof uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    RETURN QUERY SELECT p FROM access.excepted_for(caller) AS p
        WHERE proof = (SELECT value FROM access.policy_proof);
END $$;
CREATE OR REPLACE FUNCTION access.opens(of_patient uuid, label text[], proof uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN proof = (SELECT value FROM access.policy_proof)
        AND coalesce(label, '{R}') <@ access.clearance_to(access.context(), of_patient);
END $$;
DROP FUNCTION access.proven(uuid);
