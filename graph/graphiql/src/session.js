// Who asks: the bearer token of this page, in memory only, and the requests that carry it.
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { createClient } from "graphql-ws";

const DEFAULT_PERSONA = "physician";

// A promise, so that a query asked during a sign-in waits for it instead of going out as the caller before.
let token = Promise.resolve(null);

/** Asks as the bearer of `value` from now on; an empty value asks anonymously. */
export function setToken(value) {
  token = Promise.resolve(value || null);
}

async function issueToken(persona, facility) {
  const response = await fetch("/demo/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ persona, facility }),
  });
  if (!response.ok) {
    throw new Error(`Sign-in failed (HTTP ${response.status})`);
  }
  return (await response.json()).token;
}

/** Signs in as a persona of the demo network at a facility; throws, and keeps the caller, when the demo issuer refuses. */
export async function signIn(persona, facility) {
  const before = token;
  token = issueToken(persona, facility);
  try {
    await token;
  } catch (error) {
    token = before;
    throw error;
  }
}

/** The demo network with the choice already signed in, or null where the server runs without demo mode. */
export async function demoNetwork() {
  const response = await fetch("/demo/personas");
  if (!response.ok) {
    return null;
  }
  const { facilities, personas } = await response.json();
  const { name: persona } = personas.find(({ name }) => name === DEFAULT_PERSONA) ?? personas[0];
  const facility = facilities[0].code;
  const error = await signIn(persona, facility).then(() => null, ({ message }) => message);
  return { facilities, personas, choice: { persona, facility }, error };
}

// An Authorization typed into the headers editor wins over the token.
async function fetchAsCaller(url, options) {
  const headers = new Headers(options.headers);
  const bearer = await token;
  if (bearer && !headers.has("authorization")) {
    headers.set("authorization", `Bearer ${bearer}`);
  }
  return fetch(url, { ...options, headers });
}

// Subscriptions: a socket for as long as one runs, opened as whoever is the caller then.
const socket = createClient({
  url: `${location.origin.replace(/^http/, "ws")}/graphql`,
  lazy: true,
  retryAttempts: 0,
  connectionParams: async () => {
    const bearer = await token;
    return bearer ? { Authorization: `Bearer ${bearer}` } : {};
  },
});

export const fetcher = createGraphiQLFetcher({
  url: "/graphql",
  wsClient: socket,
  fetch: fetchAsCaller,
  headers: { accept: "application/graphql-response+json, application/json, multipart/mixed" },
});
