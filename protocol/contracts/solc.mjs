#!/usr/bin/env node
// Lets forge drive the npm build of the Solidity compiler as if it were the native program.
// Answers `--version` and `--standard-json` (input on stdin); everything else is refused.
import fs from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");
const args = process.argv.slice(2);

if (args.includes("--version")) {
  // forge only accepts a version line that names a native build.
  const version = solc.version().replace(/\.Emscripten\.clang$/, ".Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (args.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  console.error(`solc.mjs: unsupported arguments: ${args.join(" ") || "(none)"}`);
  process.exitCode = 1;
}
