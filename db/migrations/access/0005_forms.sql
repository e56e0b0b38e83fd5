-- Masked forms that can't be mistaken for values, and no year from which an age over 89 follows (see db/policy.toml).

-- The last year that is older than every age which may be told: whoever has a record of it, or of a year before, is 90 by
-- the end of this year. By the calendar of UTC, so that every session has the same.
CREATE FUNCTION access.year_untold() RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT extract(year FROM now() AT TIME ZONE 'UTC')::int - 90 $$;

-- Year of a date. 45 CFR 164.514(b)(2)(i)(C) suppresses "all elements of dates (including year) indicative of such age": a
-- first event of 1931 tells it as a birth in 1931 does.
CREATE OR REPLACE FUNCTION access.mask_year(value text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN left(value, 4)::int > access.year_untold() THEN left(value, 4) END
$$;

-- Year of birth, unless an age over 89 follows from it today or at death, or it lies in the future. One that may be told
-- today of somebody who died long ago is still told: no age over 89 was reached.
CREATE OR REPLACE FUNCTION access.mask_birth_year(birth text, deceased text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN coalesce(left(deceased, 4)::int, access.year_untold() + 90) - left(birth, 4)::int BETWEEN 0 AND 89
           THEN left(birth, 4) END
$$;

-- Instant -> the start of its year, NULL where the year may not be told.
CREATE FUNCTION access.mask_instant(instant timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN extract(year FROM instant AT TIME ZONE 'UTC') > access.year_untold() THEN date_trunc('year', instant, 'UTC') END
$$;

-- The same for an instant that lists are ordered by, which must not be NULL: all years that may not be told are one.
CREATE FUNCTION access.mask_order(instant timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN extract(year FROM instant AT TIME ZONE 'UTC') > access.year_untold() THEN date_trunc('year', instant, 'UTC')
           WHEN instant IS NOT NULL THEN make_timestamptz(access.year_untold(), 1, 1, 0, 0, 0, 'UTC') END
$$;

-- Social security number -> ***-**-1234; what has not nine digits is no such number and keeps none.
CREATE FUNCTION access.mask_ssn(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value ~ '^[0-9]{3}-?[0-9]{2}-?[0-9]{4}$' THEN '***-**-' || right(value, 4) WHEN value IS NOT NULL THEN '***' END
$$;

-- Name -> its first letter and a full stop; a name so short that this would be all of it, or of no letter, gives *.
CREATE OR REPLACE FUNCTION access.mask_initial(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN btrim(value) ~ '^[[:alpha:]]..' THEN left(btrim(value), 1) || '.' WHEN value IS NOT NULL THEN '*.' END
$$;
CREATE FUNCTION access.mask_initials(names text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN names IS NOT NULL THEN ARRAY(
        SELECT access.mask_initial(name) FROM unnest(names) WITH ORDINALITY AS listed (name, place) ORDER BY place) END
$$;

-- Completed years from a FHIR date to another by the calendar; somebody born on Feb 29 completes a year on Mar 1 where there
-- is no such day. NULL where the precision of a date leaves it open, and for a birth that is still to come.
CREATE FUNCTION access.completed_years(birth text, day text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN known < 7 OR left(birth, known) > left(day, known) THEN NULL
        WHEN known = 7 AND substr(birth, 6, 2) = substr(day, 6, 2) THEN NULL
        ELSE left(day, 4)::int - left(birth, 4)::int - (substr(day, 6, known - 5) < substr(birth, 6, known - 5))::int
    END
    FROM (SELECT least(length(birth), length(day), 10)) AS precision_of (known)
$$;

-- The day up to which somebody ages: today, or that of death; NULL for somebody who died nobody knows when.
CREATE FUNCTION access.aged_until(deceased boolean, died text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN died IS NOT NULL THEN left(died, 10)
           WHEN deceased IS NOT TRUE THEN to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') END
$$;

-- Age in completed years, today or at death.
CREATE FUNCTION access.age_in_years(birth text, deceased boolean, died text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT access.completed_years(birth, access.aged_until(deceased, died))::text $$;

-- Age as a band of five years, 90+ from 90 on. It is the age reached by the end of that year: it changes with the year, so
-- that who asks every day does not learn a birthday, and it is 90+ just where the year of birth is suppressed.
CREATE FUNCTION access.age_band(birth text, deceased boolean, died text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN left(birth, length(until)) > left(until, length(birth)) OR years < 0 THEN NULL
        WHEN years >= 90 THEN '90+'
        ELSE (years / 5 * 5) || '-' || (years / 5 * 5 + 4)
    END
    FROM (SELECT until, left(until, 4)::int - left(birth, 4)::int FROM access.aged_until(deceased, died) AS until) AS reached (until, years)
$$;
