"""Statements that make the facilities, their staff, and the people registered there, in the clinical database.

`{name}` stands for a number of sizes.Sizes. What is drawn comes from a hash of a stream and a number, so that rows are
the same in every run, whatever the order in which they are made.
"""

from __future__ import annotations

HELPERS = """
CREATE SCHEMA scale;
-- Uniform in [0, 1), of a stream of draws and a number.
CREATE FUNCTION scale.u(stream int, n bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashint8extended(n, {seed}::bigint * 1000 + stream) & 4503599627370495)::float8 / 4503599627370496
$$;
-- 0 to size - 1, where the k-th is drawn in proportion to 1 / (k + flatness): Zipf and Mandelbrot's law.
CREATE FUNCTION scale.skewed(u float8, size int, flatness float8) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(size - 1, floor(flatness * power((size + flatness) / flatness, u) - flatness)::int)
$$;
CREATE FUNCTION scale.key(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(kind || n)::uuid
$$;
CREATE FUNCTION scale.iso(instant timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(instant, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
"""

PLACES = """
INSERT INTO clinical.facility (id, code, name)
SELECT scale.key('facility', f), 'SCALE-' || to_char(f, 'FM00'), 'Hospital ' || f FROM generate_series(0,
    {facilities} - 1) AS f;
INSERT INTO clinical.department (id, facility_id, code, name, physical_type)
SELECT scale.key('department', f * 100 + d), scale.key('facility', f), 'D' || d,
    CASE WHEN d < 12 THEN 'Ward ' || d + 1 WHEN d = 12 THEN 'Emergency' ELSE 'Clinic ' || d - 12 END,
    CASE WHEN d < 12 THEN 'wa' ELSE 'bu' END
FROM generate_series(0, {facilities} - 1) AS f, generate_series(0, {departments} - 1) AS d;
INSERT INTO clinical.provider (id, npi, family, given)
SELECT scale.key('provider', i), (1000000000 + i)::text, s.name, ARRAY[g.name]
FROM generate_series(0, {facilities} * {providers} - 1) AS i
JOIN scale.surname AS s ON s.n = scale.skewed(scale.u(1, i), (SELECT count(*)::int FROM scale.surname), 15)
JOIN scale.given AS g ON g.n = scale.skewed(scale.u(2, i), (SELECT count(*)::int FROM scale.given), 8);
INSERT INTO clinical.provider_role (facility_id, provider_id, department_id)
SELECT scale.key('facility', n / {providers}), scale.key('provider', n),
    scale.key('department', n / {providers} * 100 + n % {departments})
FROM generate_series(0, {facilities} * {providers} - 1) AS n;
"""

# Common names of the 2010 census and other spellings first, then made ones, which are rarer and rarer.
NAMES = """
CREATE UNLOGGED TABLE scale.surname (n int, name text);
INSERT INTO scale.surname
SELECT row_number() OVER (ORDER BY rank, hashtext(name)) - 1, name
FROM (
    SELECT name, rank FROM unnest(string_to_array('Smith,Johnson,Williams,Brown,Jones,Garcia,Miller,Davis,Rodriguez,'
        'Martinez,Hernandez,Lopez,Gonzalez,Wilson,Anderson,Thomas,Taylor,Moore,Jackson,Martin,Lee,Perez,Thompson,White,'
        'Harris,Sanchez,Clark,Ramirez,Lewis,Robinson,Walker,Young,Allen,King,Wright,Scott,Torres,Nguyen,Hill,Flores,'
        'Green,Adams,Nelson,Baker,Hall,Rivera,Campbell,Mitchell,Carter,Roberts,Gomez,Phillips,Evans,Turner,Diaz,Parker,'
        'Cruz,Edwards,Collins,Reyes,Stewart,Morris,Morales,Murphy,Cook,Rogers,Gutierrez,Ortiz,Morgan,Cooper,Peterson,'
        'Bailey,Reed,Kelly,Howard,Ramos,Kim,Cox,Ward,Richardson,Núñez,O''Brien,Peña,O''Connor,García-López', ','))
        WITH ORDINALITY AS listed (name, rank)
    UNION ALL
    SELECT start || middle || final, 1000
    FROM unnest(string_to_array('Ab,Al,Ar,Bal,Ber,Bran,Car,Cor,Dal,Dor,El,Fal,Far,Gal,Gor,Hal,Har,Hol,Jan,Kal,Ker,Kol,'
        'Lan,Lor,Mal,Mar,Mor,Nor,Ol,Pal,Per,Quin,Ral,Ros,Sal,Ser,Tal,Tor,Val,Wil', ',')) AS start,
        unnest(string_to_array('a,an,be,co,de,di,en,ga,go,i,in,ka,le,lo,ma,mi,ni,o,ra,ri,so,ta,ti,u,vi', ','))
            AS middle,
        unnest(string_to_array('berg,by,cott,den,dez,ford,gan,ham,ker,land,ley,lin,man,ner,ov,rez,sen,ski,son,ton',
            ',')) AS final
) AS every;
CREATE UNLOGGED TABLE scale.given (n int, name text);
INSERT INTO scale.given
SELECT row_number() OVER (ORDER BY rank, hashtext(name)) - 1, name
FROM (
    SELECT name, rank FROM unnest(string_to_array('James,Mary,Michael,Patricia,Robert,Jennifer,John,Linda,David,'
        'Elizabeth,William,Barbara,Richard,Susan,Joseph,Jessica,Thomas,Karen,Christopher,Sarah,Charles,Lisa,Daniel,Nancy,Matthew,'
        'Sandra,Anthony,Ashley,Mark,Emily,Steven,Kimberly,Donald,Betty,Andrew,Margaret,Joshua,Donna,Paul,Michelle,'
        'Kenneth,Carol,Kevin,Amanda,Brian,Melissa,Timothy,Deborah,Ronald,Stephanie,Jason,Rebecca,George,Sharon,Edward,'
        'Laura,Jeffrey,Cynthia,Ryan,Amy,Jacob,Kathleen,Nicholas,Angela,Gary,Dorothy,Eric,Maria,José,Ana,Ann,Anna', ','))
        WITH ORDINALITY AS listed (name, rank)
    UNION ALL
    SELECT start || final, 1000
    FROM unnest(string_to_array('A,Be,Ca,Da,E,Fe,Gi,Ha,I,Jo,Ka,Le,Ma,Ni,O,Pa,Ro,Sa,Te,Vi', ',')) AS start,
        unnest(string_to_array('bel,dan,la,lia,mir,na,nald,ra,rik,ron,sha,tha,ton,van,vin,zar', ',')) AS final
) AS every;
"""

PERSONS = """
CREATE UNLOGGED TABLE scale.person AS
SELECT p AS n, scale.key('patient', p) AS id, scale.skewed(scale.u(3, p), {facilities}, 0.6) AS home,
    CASE WHEN scale.u(4, p) < 0.08 THEN scale.skewed(scale.u(5, p), {facilities}, 0.6) END AS second
FROM generate_series(1, {people}) AS p;
INSERT INTO clinical.patient (id, gender, birth_date, race, ethnicity, address, telecom)
SELECT id, CASE WHEN scale.u(6, n) < 0.51 THEN 'female' ELSE 'male' END,
    to_char(date '1932-01-01' + floor(scale.u(7, n) * 34300)::int, 'YYYY-MM-DD'), 'White', 'Not Hispanic or Latino',
    jsonb_build_array(jsonb_build_object('city', 'Springfield', 'state', 'MA', 'postalCode', '0' || 1001 + n % 900,
        'line', jsonb_build_array(n % 999 || ' Main Street'))),
    jsonb_build_array(jsonb_build_object('system', 'phone', 'use', 'home', 'value', '555-' || to_char(n % 10000000,
        'FM0000000')))
FROM scale.person ORDER BY n;
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT scale.key('facility', place), id, to_char(n::bigint * 48271 % 99999989, 'FM00000000')
FROM scale.person, unnest(ARRAY[home, CASE WHEN second <> home THEN second END]) AS place
WHERE place IS NOT NULL ORDER BY n;
INSERT INTO clinical.patient_name (patient_id, position, use, family, given)
SELECT p.id, place, CASE place WHEN 0 THEN 'official' ELSE 'maiden' END, s.name,
    CASE WHEN scale.u(8, p.n) < 0.3 THEN ARRAY[g.name, m.name] ELSE ARRAY[g.name] END
FROM scale.person AS p
CROSS JOIN generate_series(0, CASE WHEN scale.u(9, p.n) < 0.03 THEN 1 ELSE 0 END) AS place
JOIN scale.surname AS s ON s.n = scale.skewed(scale.u(10 + place, p.n), (SELECT count(*)::int FROM scale.surname), 15)
JOIN scale.given AS g ON g.n = scale.skewed(scale.u(12, p.n), (SELECT count(*)::int FROM scale.given), 8)
JOIN scale.given AS m ON m.n = scale.skewed(scale.u(13, p.n), (SELECT count(*)::int FROM scale.given), 8);
INSERT INTO clinical.patient_identifier (patient_id, position, kind, system, value)
SELECT p.id, place, (ARRAY['SSN', 'LICENSE_NUMBER'])[place + 1], 'urn:scale:' || place,
    CASE place WHEN 0 THEN to_char(n % 900 + 100, 'FM000') || '-12-' || to_char(n % 10000, 'FM0000') ELSE 'S9' || n END
FROM scale.person AS p, generate_series(0, 1) AS place
WHERE p.n <= {patients};
"""

# What the triggers of registration and patient_name would make, once for all.
SEARCH = """
INSERT INTO clinical.patient_search (facility_id, patient_id, position, name)
SELECT r.facility_id, r.patient_id, n.position,
    clinical.normal_name(concat_ws(' ', array_to_string(n.given, ' '), n.family, CASE WHEN n.family IS NULL
        THEN n.text END))
FROM clinical.registration AS r
JOIN clinical.patient_name AS n ON n.patient_id = r.patient_id;
INSERT INTO clinical.patient_word (facility_id, word, patient_id, position, name)
SELECT DISTINCT s.facility_id, word, s.patient_id, s.position, s.name
FROM clinical.patient_search AS s, string_to_table(s.name, ' ') AS word
WHERE word <> '';
INSERT INTO clinical.name_word (word) SELECT DISTINCT word FROM clinical.patient_word;
"""
