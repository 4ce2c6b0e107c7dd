// Compiles src/*.sol, and the tokens that the node's tests deploy, with the npm build of the Solidity compiler.
//
//   node compile.mjs           write artifacts/<Name>.json and test/artifacts/<Name>.json
//   node compile.mjs --check   fail when an artifact differs from a fresh compile
//   node compile.mjs --ast     write out/ast/build-info.json, the syntax trees that static analysers read
//
// An artifact is {"abi", "bytecode", "contractName", "deployedBytecode"} with sorted keys and a trailing newline.
// Output depends on the sources, the compiler version and the settings below, and on nothing else.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.dirname(fileURLToPath(import.meta.url));
/** What is shipped: every contract of this folder. */
const SHIPPED = fs.readdirSync(path.join(ROOT, "src")).filter((name) => name.endsWith(".sol")).sort().map((name) => `src/${name}`);
/** What is compiled by itself and where its artifacts go; fixtures apart, so that they change nothing in the code that is shipped. */
const GROUPS = [
  { sources: SHIPPED, folder: "artifacts" },
  { sources: ["test/MoodyToken.sol"], folder: "test/artifacts" },
];
const AST = path.join(ROOT, "out", "ast");
/** Largest runtime code an account may hold, in bytes (EIP-170). */
const CODE_LIMIT = 24_576;
/** Must agree with foundry.toml, so that the tests run the code that is shipped. */
const SETTINGS = {
  evmVersion: "cancun",
  metadata: { bytecodeHash: "none" },
  optimizer: { enabled: true, runs: 1_000_000 },
  viaIR: true,
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
/**
 * Solidity reserves the word `view`, the header's EIP-712 type does not. The ABI carries the name of the type,
 * so that clients derive the right type string from it. Names are no part of a selector.
 */
const ABI_NAMES = { view_: "view" };

function fail(message) {
  console.error(`compile.mjs: ${message}`);
  process.exit(1);
}

function loadCompiler() {
  try {
    return createRequire(import.meta.url)("solc");
  } catch {
    return fail("the compiler is not installed; run `npm install --no-save --no-package-lock` in this folder");
  }
}

/** The compiler's version ("0.8.37"), its input without imports, and its output. */
function compile(settings, files) {
  const solc = loadCompiler();
  const sources = {};
  for (const file of files) {
    sources[file] = { content: fs.readFileSync(path.join(ROOT, file), "utf8") };
  }
  const resolve = (name) => {
    const file = [ROOT, path.join(ROOT, "node_modules")].map((at) => path.join(at, name)).find((at) => fs.existsSync(at));
    return file
      ? { contents: fs.readFileSync(file, "utf8") }
      : { error: `${name} not found in node_modules` };
  };
  const input = { language: "Solidity", settings, sources };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: resolve }));
  const problems = (output.errors ?? []).filter(
    (e) => e.severity === "error" || files.includes(e.sourceLocation?.file),
  );
  if (problems.length > 0) fail(`the sources do not compile cleanly\n${problems.map((e) => e.formattedMessage).join("\n")}`);
  return { version: solc.version().split("+")[0], input, output };
}

/** Keys in order, at every depth; `view_` gets its public name. */
function canonical(value) {
  if (Array.isArray(value)) return value.map(canonical);
  if (value === null || typeof value !== "object") return value;
  const sorted = {};
  for (const key of Object.keys(value).sort()) {
    const rename = key === "name" && typeof value[key] === "string" && Object.hasOwn(ABI_NAMES, value[key]);
    sorted[key] = rename ? ABI_NAMES[value[key]] : canonical(value[key]);
  }
  return sorted;
}

/** Contracts by name: those that share their name with the file and have code and functions (so no interface or library). */
function artifacts(contracts, files) {
  const result = new Map();
  for (const file of files) {
    const name = path.basename(file, ".sol");
    const contract = contracts[file]?.[name];
    if (!contract?.abi.some((entry) => entry.type === "function") || contract.evm.bytecode.object === "") continue;
    const size = contract.evm.deployedBytecode.object.length / 2;
    if (size > CODE_LIMIT) fail(`${name} is ${size} bytes, the limit is ${CODE_LIMIT}`);
    const artifact = canonical({
      abi: contract.abi,
      bytecode: `0x${contract.evm.bytecode.object}`,
      contractName: name,
      deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
    });
    result.set(`${name}.json`, { size, text: `${JSON.stringify(artifact)}\n` });
  }
  return result;
}

/**
 * Writes the trees in the form Hardhat and Foundry give them. They are there before any code is generated, so this takes
 * seconds; the code, which analysers want to see named, stays empty.
 */
function writeAst() {
  const { version, input, output } = compile(
    { ...SETTINGS, outputSelection: { "*": { "": ["ast"], "*": ["abi"] } } },
    SHIPPED,
  );
  const none = { object: "", sourceMap: "" };
  for (const contract of Object.values(output.contracts).flatMap(Object.values)) {
    contract.evm = { bytecode: none, deployedBytecode: none };
  }
  fs.mkdirSync(AST, { recursive: true });
  fs.writeFileSync(path.join(AST, "build-info.json"), JSON.stringify({ solcVersion: version, input, output }));
}

if (process.argv.includes("--ast")) {
  writeAst();
  process.exit();
}

let matching = 0;
for (const { sources, folder } of GROUPS) {
  const place = path.join(ROOT, folder);
  const fresh = artifacts(compile(SETTINGS, sources).output.contracts, sources);
  const present = fs.existsSync(place) ? fs.readdirSync(place).filter((name) => name.endsWith(".json")) : [];
  const orphans = present.filter((name) => !fresh.has(name));
  if (process.argv.includes("--check")) {
    const stale = [...fresh.keys()].filter((name) => {
      const file = path.join(place, name);
      return !fs.existsSync(file) || fs.readFileSync(file, "utf8") !== fresh.get(name).text;
    });
    if (stale.length + orphans.length > 0) {
      fail(
        `${folder} does not match the sources: ${[...stale, ...orphans].join(", ")}; ` +
          "run `node compile.mjs` and commit the result",
      );
    }
    matching += fresh.size;
  } else {
    fs.mkdirSync(place, { recursive: true });
    for (const name of orphans) fs.unlinkSync(path.join(place, name));
    for (const [name, { size, text }] of fresh) {
      fs.writeFileSync(path.join(place, name), text);
      console.log(`${name.padEnd(26)} ${size} bytes of runtime code`);
    }
  }
}
if (process.argv.includes("--check")) console.log(`${matching} artifacts match the sources`);
