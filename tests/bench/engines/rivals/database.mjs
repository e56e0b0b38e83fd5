// The clinical database as Apollo and Mercurius read it: for each request one transaction with the shared context, and
// one prepared statement for all parents of a level.
import { readFileSync } from "node:fs";
import pg from "pg";

const statements = Object.fromEntries(
  readFileSync(new URL("statements.sql", import.meta.url), "utf8")
    .trim()
    .split(/;\n+/)
    .map((text) => [/^\/\* (\w+) \*\//.exec(text)[1], text.replace(/;$/, "")]),
);
const begin =
  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = engines, public; " +
  `SET LOCAL app.context = '${process.env.BENCH_CONTEXT}'`;
const pool = new pg.Pool({ connectionString: process.env.BENCH_URL, max: Number(process.env.BENCH_CONNECTIONS), idleTimeoutMillis: 0 });
const LAST = { time: "9999-12-31", id: "ffffffff-ffff-ffff-ffff-ffffffffffff" };

export class Reading {
  async open() {
    const client = await pool.connect();
    await client.query(begin);
    return client;
  }

  async rows(name, ...values) {
    this.opened ??= this.open();
    const client = await this.opened;
    return (await client.query({ name, text: statements[name], values })).rows;
  }

  async close() {
    if (!this.opened) return;
    const client = await this.opened;
    await client.query("COMMIT");
    client.release();
  }
}

async function grouped(reading, statement, parents, ...values) {
  const found = new Map(parents.map((parent) => [parent.id, []]));
  for (const row of await reading.rows(statement, [...found.keys()], ...values)) found.get(row.parent).push(row);
  return parents.map((parent) => found.get(parent.id));
}

// Relations: from all parents of a level, and the arguments of the field, to a value for each.
const list = (statement) => (reading, parents) => grouped(reading, statement, parents);
const page = (statement) => async (reading, parents, { first }) =>
  (await grouped(reading, statement, parents, first)).map((nodes) => ({ nodes }));
const filtered = (statement) => async (reading, parents, { first, status }) =>
  (await grouped(reading, statement, parents, first, status ?? null)).map((nodes) => ({ nodes }));
const one = (statement, key) => async (reading, parents) => {
  const ids = [...new Set(parents.map((parent) => parent[key]).filter(Boolean))];
  const found = new Map((await reading.rows(statement, ids)).map((row) => [row.id, row]));
  return parents.map((parent) => found.get(parent[key]) ?? null);
};

export const relations = {
  Patient: {
    name: list("names_of_patients"),
    encounters: page("encounters_of_patients"),
    conditions: filtered("conditions_of_patients"),
    allergyIntolerances: page("allergy_intolerances_of_patients"),
    medicationRequests: filtered("medication_requests_of_patients"),
    labResults: page("lab_results_of_patients"),
  },
  Encounter: {
    patient: one("patients_by_id", "patientId"),
    department: one("departments_by_id", "departmentId"),
    provider: one("providers_by_id", "providerId"),
  },
  MedicationRequest: { medication: one("medications_by_id", "medicationId") },
  LabResult: { test: one("lab_tests_by_id", "labTestId") },
};

const code = (row) => ({ text: row.codeText, coding: row.code ? [{ code: row.code }] : [] });

export const resolvers = {
  Query: {
    patient: async (_, { id }, { reading }) => (await reading.rows("patients_by_id", [id]))[0] ?? null,
    facility: () => ({}),
    patients: async (_, { search, first, after }, { reading }) => ({
      nodes: search
        ? await reading.rows("patients_by_search", search.split(" "), first)
        : await reading.rows("patients_of_facility", after ?? LAST.id, first),
    }),
  },
  Facility: {
    inpatients: async (_, { first, after }, { reading }) => {
      const [time, id] = after ? after.split("|") : [LAST.time, LAST.id];
      return { nodes: await reading.rows("inpatients", time, id, first) };
    },
  },
  Condition: { code },
  AllergyIntolerance: { code },
  Medication: { code },
  LabTest: { code },
  LabResult: { valueQuantity: (row) => ({ value: row.value, unit: row.unit }) },
};
