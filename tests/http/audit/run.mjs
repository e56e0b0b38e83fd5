// Runs the server audits of graphql-http against AUDIT_URL with the bearer token AUDIT_TOKEN; prints [{id, name, status, reason}].
import { serverAudits } from "graphql-http";

const { AUDIT_URL: url, AUDIT_TOKEN: token } = process.env;

const fetchFn = (target, options = {}) =>
  fetch(target, {
    ...options,
    headers: { ...options.headers, authorization: `Bearer ${token}`, "graphql-require-preflight": "1" },
  });

const results = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const { id, name, status, reason } = await audit.fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify(results));
