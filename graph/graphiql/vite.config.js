import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { thirdPartyNotices } from "./third-party-notices.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Drops the fonts that GraphiQL embeds as data: URLs, which the content security policy refuses; system fonts serve. */
function withoutEmbeddedFonts() {
  return {
    name: "without-embedded-fonts",
    enforce: "pre",
    transform(code, id) {
      return id.endsWith("graphiql/dist/style.css") ? code.replace(/@font-face\s*\{[^}]*\}/g, "") : null;
    },
  };
}

export default defineConfig({
  base: "/graphiql/",
  publicDir: false,
  resolve: { alias: { "react-style-singleton": path("./src/style-singleton.js") } },
  esbuild: { jsx: "automatic", legalComments: "none" },
  plugins: [withoutEmbeddedFonts(), thirdPartyNotices()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    modulePreload: false,
    rollupOptions: {
      output: { inlineDynamicImports: true },
    },
  },
});
