// Runs the tests with coverage and fails when a line of src/ is not reached, or too few branches are taken both ways.
//
//   node coverage.mjs
//
// Compiles without the optimizer, so that every line of the sources keeps its place in the code.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.dirname(fileURLToPath(import.meta.url));
const FORGE = path.join(ROOT, "node_modules", "@foundry-rs", "forge-linux-amd64", "bin", "forge");
const REPORT = path.join(ROOT, "out", "coverage.info");
/** Least parts that must be covered, in percent. */
const LINES = 100;
const BRANCHES = 95;
/** Gas is another profile's; the invariants reach nothing that the other tests do not. */
const ARGS = ["coverage", "--no-match-contract", "Gas|Invariants", "--no-match-coverage", "test", "--report", "lcov"];
/** Enough to reach every line; their number is a matter of `forge test`. */
const FUZZ_RUNS = "64";

fs.mkdirSync(path.dirname(REPORT), { recursive: true });
const env = { ...process.env, FOUNDRY_FUZZ_RUNS: FUZZ_RUNS };
const forge = spawnSync(FORGE, [...ARGS, "--report-file", REPORT], { cwd: ROOT, env, encoding: "utf8", maxBuffer: 1 << 28 });
if (forge.error || forge.status !== 0) {
  console.error(forge.error?.message ?? `${forge.stdout}\n${forge.stderr}`);
  console.error("coverage.mjs: forge failed; see above");
  process.exit(1);
}

const total = { lines: [0, 0], branches: [0, 0] };
const missed = [];
let file;
for (const record of fs.readFileSync(REPORT, "utf8").split("\n")) {
  const [key, value] = [record.slice(0, record.indexOf(":")), record.slice(record.indexOf(":") + 1)];
  if (key === "SF") file = value;
  if (key !== "DA" && key !== "BRDA") continue;
  const fields = value.split(",");
  const taken = Number(fields.at(-1)) > 0;
  const sum = key === "DA" ? total.lines : total.branches;
  sum[0] += taken ? 1 : 0;
  sum[1] += 1;
  if (!taken) missed.push(`${file}:${fields[0]} (${key === "DA" ? "line" : "branch"})`);
}
const percent = ([taken, all]) => (all === 0 ? 0 : (100 * taken) / all);
for (const [name, sum] of Object.entries(total)) console.log(`${name}: ${sum[0]} of ${sum[1]}, ${percent(sum).toFixed(2)} %`);
if (missed.length > 0) console.log(`not covered: ${missed.join(", ")}`);
if (percent(total.lines) < LINES || percent(total.branches) < BRANCHES) {
  console.error(`coverage.mjs: the marks are ${LINES} % of the lines and ${BRANCHES} % of the branches`);
  process.exit(1);
}
