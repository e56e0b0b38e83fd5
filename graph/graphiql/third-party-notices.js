import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The folder of the package that owns a bundled module, or null for modules of our own and of the bundler. */
function packageFolder(id) {
  if (!id.includes("/node_modules/")) {
    return null;
  }
  let folder = dirname(id.replace(/^\0/, "").split("?")[0]);
  while (!existsSync(join(folder, "package.json")) || !readPackage(folder).version) {
    folder = dirname(folder);
  }
  return folder;
}

function readPackage(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

function notice(folder) {
  const { name, version, license } = readPackage(folder);
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim() : `License: ${license}`;
  return `${name} ${version} (${license})\n\n${text}\n`;
}

/** Writes THIRD_PARTY.txt beside the bundle: the license of every package whose code went into it. */
export function thirdPartyNotices() {
  return {
    name: "third-party-notices",
    generateBundle() {
      const folders = new Set([...this.getModuleIds()].map(packageFolder).filter(Boolean));
      const notices = [...folders].map(notice).sort();
      const source = notices.join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: "THIRD_PARTY.txt", source });
    },
  };
}
