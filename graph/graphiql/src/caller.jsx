// The caller's choice beside the tabs: a persona of the demo network, or a token pasted in.
import { useEditorContext, useExecutionContext, useSchemaStore } from "@graphiql/react";
import { useEffect, useState } from "react";
import { setToken, signIn } from "./session.js";

function useBusy() {
  const { isFetching, isSubscribed } = useExecutionContext({ nonNull: true });
  return isFetching || isSubscribed;
}

/** Whether the operation at hand only reads once: nothing else is done again by itself, least of all as somebody else. */
function isQuery(editor) {
  const operations = editor?.operations ?? [];
  const current = operations.find(({ name }) => name?.value === editor.operationName) ?? operations[0];
  return current?.operation === "query";
}

/** A function that drops every answer on screen (they were another caller's) and asks the current query again if it had one. */
function useAskAgain() {
  const [callers, setCallers] = useState(0);
  const { queryEditor, responseEditor, tabs, updateActiveTabValues } = useEditorContext({ nonNull: true });
  const { run } = useExecutionContext({ nonNull: true });
  const introspect = useSchemaStore((store) => store.introspect);
  const busy = useBusy();

  // An effect, so that it sees the tabs as they are after the sign-in, not as they were when it began.
  useEffect(() => {
    if (callers === 0) {
      return;
    }
    const answered = Boolean(responseEditor.getValue());
    // In place: GraphiQL has no call to change a tab in the background, and reads it anew when it comes to the front.
    for (const tab of tabs) {
      tab.response = null;
    }
    responseEditor.setValue("");
    updateActiveTabValues({ response: null });
    introspect();
    if (answered && !busy && isQuery(queryEditor)) {
      run();
    }
  }, [callers]);

  return () => setCallers((count) => count + 1);
}

function Select({ label, value, options, disabled, onChange }) {
  return (
    <label className="caller-field">
      <span>{label}</span>
      <select
        name={label.toLowerCase()}
        value={value}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.value)}
      >
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Persona and facility of the demo network; a choice signs in anew. */
export function DemoCaller({ demo }) {
  const [choice, setChoice] = useState(demo.choice);
  const [error, setError] = useState(demo.error);
  const [signingIn, setSigningIn] = useState(false);
  const busy = useBusy() || signingIn;
  const askAgain = useAskAgain();

  async function choose(change) {
    const next = { ...choice, ...change };
    setSigningIn(true);
    try {
      await signIn(next.persona, next.facility);
      setChoice(next);
      setError(null);
      askAgain();
    } catch ({ message }) {
      setError(message);
    } finally {
      setSigningIn(false);
    }
  }

  return (
    <div className="caller">
      {error && <span role="alert">{error}</span>}
      <Select
        label="Persona"
        value={choice.persona}
        options={demo.personas.map(({ name, display }) => [name, display])}
        disabled={busy}
        onChange={(persona) => choose({ persona })}
      />
      <Select
        label="Facility"
        value={choice.facility}
        options={demo.facilities.map(({ code, name }) => [code, name])}
        disabled={busy}
        onChange={(facility) => choose({ facility })}
      />
    </div>
  );
}

/** A field for a bearer token of the network's own issuer. */
export function TokenCaller() {
  const busy = useBusy();
  const askAgain = useAskAgain();

  function submit(event) {
    event.preventDefault();
    setToken(new FormData(event.currentTarget).get("token").trim());
    askAgain();
  }

  return (
    <form className="caller" onSubmit={submit} autoComplete="off">
      <label className="caller-field">
        <span>Token</span>
        <input name="token" type="password" autoComplete="off" spellCheck={false} placeholder="Paste a bearer token" />
      </label>
      <button type="submit" disabled={busy}>
        Use
      </button>
    </form>
  );
}
