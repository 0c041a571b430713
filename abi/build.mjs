// Compile abi/src to abi/<Contract>.json, the same bytes on every machine.
//
//   node abi/build.mjs [OUTPUT_DIRECTORY] [--modules NODE_MODULES] [--sources DIRECTORY]
//
// With --sources another directory's contracts are compiled instead: those of tests.
//
// The sources stand under fixed virtual paths in sorted order, and the bytecode carries no
// metadata, so that neither the checkout's place nor node's version shows in the output. The
// compiler and OpenZeppelin come from npm at the versions that package.json pins; they are
// installed beside this file when they are not there.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2);
const at = words.indexOf("--modules");
const modules = at >= 0 ? resolve(words.splice(at, 2)[1]) : join(here, "node_modules");
const from = words.indexOf("--sources");
const origin = from >= 0 ? resolve(words.splice(from, 2)[1]) : join(here, "src");
const output = resolve(words[0] ?? here);

if (!existsSync(join(modules, "solc", "package.json"))) {
  console.error(`installing the compiler into ${modules}`);
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock"], {
    cwd: here,
    stdio: ["ignore", "inherit", "inherit"],
  });
}

const sources = {};
function add(path, file) {
  if (path in sources) return;
  const content = readFileSync(file, "utf8");
  sources[path] = { content };
  for (const [, imported] of content.matchAll(/from\s+"([^"]+)"/g)) {
    if (imported.startsWith(".")) {
      add(join(dirname(path), imported), resolve(dirname(file), imported));
    } else {
      add(imported, join(modules, imported));
    }
  }
}

const own = readdirSync(origin).filter((name) => name.endsWith(".sol")).sort();
for (const name of own) add(`src/${name}`, join(origin, name));

const sorted = Object.fromEntries(Object.keys(sources).sort().map((k) => [k, sources[k]]));
const solc = createRequire(join(modules, "solc", "package.json"))("solc");
const result = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: sorted,
      settings: {
        evmVersion: "cancun",
        viaIR: true,
        optimizer: { enabled: true, runs: 200 },
        metadata: { bytecodeHash: "none", appendCBOR: false },
        outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
      },
    }),
  ),
);

const errors = (result.errors ?? []).filter((e) => e.severity === "error");
for (const e of result.errors ?? []) console.error(e.formattedMessage);
if (errors.length > 0) process.exit(1);

mkdirSync(output, { recursive: true });
for (const name of own) {
  const contract = name.replace(/\.sol$/, "");
  const built = result.contracts[`src/${name}`][contract];
  const artifact = { abi: built.abi, bytecode: `0x${built.evm.bytecode.object}` };
  writeFileSync(join(output, `${contract}.json`), `${JSON.stringify(artifact, null, 1)}\n`);
  console.log(`${contract}: ${built.evm.bytecode.object.length / 2} bytes`);
}
