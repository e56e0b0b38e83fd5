// PostGraphile over the open views, with its recommended preset; their keys come from comments (smart tags).
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({
      connectionString: process.env.BENCH_URL,
      schemas: ["engines"],
      poolConfig: { max: Number(process.env.BENCH_CONNECTIONS), idleTimeoutMillis: 0 },
    }),
  ],
  gather: { pgStrictFunctions: false },
  grafast: { context: () => ({ pgSettings: { "app.context": process.env.BENCH_CONTEXT } }) },
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false },
});
const server = createServer();
await instance.createServ(grafserv).addTo(server);
server.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
if (process.env.BENCH_SCHEMA) {
  const { printSchema } = await import("postgraphile/graphql");
  process.stdout.write(printSchema(await instance.getSchema()));
}
