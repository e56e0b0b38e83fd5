// Apollo Server with one DataLoader for each field and its arguments, made anew for each request.
import { readFileSync } from "node:fs";
import { ApolloServer } from "@apollo/server";
import { ApolloServerPluginCacheControlDisabled } from "@apollo/server/plugin/disabled";
import { startStandaloneServer } from "@apollo/server/standalone";
import DataLoader from "dataloader";
import { Reading, relations, resolvers } from "./database.mjs";

const loaded = (batch, field) => (parent, args, context) => {
  const key = `${field} ${JSON.stringify(args)}`;
  let loader = context.loaders.get(key);
  if (!loader) {
    loader = new DataLoader((parents) => batch(context.reading, parents, args), { cache: false, maxBatchSize: Infinity });
    context.loaders.set(key, loader);
  }
  return loader.load(parent);
};
for (const [type, fields] of Object.entries(relations)) {
  resolvers[type] ??= {};
  for (const [field, batch] of Object.entries(fields)) resolvers[type][field] = loaded(batch, `${type}.${field}`);
}

const ends = { requestDidStart: async () => ({ willSendResponse: ({ contextValue }) => contextValue.reading.close() }) };
const server = new ApolloServer({
  typeDefs: readFileSync(new URL("schema.graphql", import.meta.url), "utf8"),
  resolvers,
  plugins: [ends, ApolloServerPluginCacheControlDisabled()],
  csrfPrevention: false,
  introspection: false,
  stopOnTerminationSignals: false,
});
await startStandaloneServer(server, {
  context: async () => ({ reading: new Reading(), loaders: new Map() }),
  listen: { host: "127.0.0.1", port: Number(process.env.BENCH_PORT) },
});
