// The page: GraphiQL on /graphql, with the caller chosen beside the tabs.
import { createRoot } from "react-dom/client";
import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import "./style.css";
import { DemoCaller, TokenCaller } from "./caller.jsx";
import { EXAMPLES } from "./examples.js";
import { MemoryStorage } from "./memory-storage.js";
import { demoNetwork, fetcher } from "./session.js";

function Explorer({ demo }) {
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={STORAGE}
      shouldPersistHeaders={false}
      defaultTabs={EXAMPLES}
      defaultEditorToolsVisibility={false}
    >
      <GraphiQL.Logo>{demo ? <DemoCaller demo={demo} /> : <TokenCaller />}</GraphiQL.Logo>
    </GraphiQL>
  );
}

const STORAGE = new MemoryStorage();
const root = createRoot(document.getElementById("graphiql"));
demoNetwork().then((demo) => root.render(<Explorer demo={demo} />));
