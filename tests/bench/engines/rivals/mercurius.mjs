// Mercurius on Fastify: documents compiled by graphql-jit when first asked, relations by its loaders.
import { readFileSync } from "node:fs";
import fastify from "fastify";
import mercurius from "mercurius";
import { Reading, relations, resolvers } from "./database.mjs";

const loaders = Object.fromEntries(
  Object.entries(relations).map(([type, fields]) => [
    type,
    Object.fromEntries(
      Object.entries(fields).map(([field, batch]) => [
        field,
        {
          loader: (queries, context) => batch(context.reading, queries.map(({ obj }) => obj), queries[0].params),
          opts: { cache: false },
        },
      ]),
    ),
  ]),
);

const app = fastify();
app.register(mercurius, {
  schema: readFileSync(new URL("schema.graphql", import.meta.url), "utf8"),
  resolvers,
  loaders,
  context: () => ({ reading: new Reading() }),
  jit: 1,
  path: "/graphql",
});
app.after(() => app.graphql.addHook("onResolution", (_execution, context) => context.reading.close()));
await app.listen({ host: "127.0.0.1", port: Number(process.env.BENCH_PORT) });
