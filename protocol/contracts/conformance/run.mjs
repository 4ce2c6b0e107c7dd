// Plays one story on three EVMs and fails when they differ in anything.
//
//   ASSAY=../../target/release/assay npm run conformance
import fs from "node:fs";
import process from "node:process";
import { Unavailable, anvil, embedded, ethereumjs } from "./chains.mjs";
import { Lockstep, errors, events } from "./lockstep.mjs";
import { NOT_MET, play } from "./scenario.mjs";

const DIFFERENCES_SHOWN = 10;

/** Starts what can be had; what cannot is named loudly. */
async function startChains(chains) {
  const skipped = [];
  let head = { number: 0, timestamp: Math.floor(Date.now() / 1000) };
  for (const [name, start] of [
    ["embedded", () => embedded(process.env.ASSAY)],
    ["anvil", () => anvil(head)],
    ["ethereumjs", () => ethereumjs(head)],
  ]) {
    try {
      chains.push(await start());
      if (chains.length === 1) head = await chains[0].head();
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      skipped.push(name);
      console.error(`\n!!! SKIPPED: ${name}: ${error.message}\n`);
    }
  }
  return skipped;
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  for (const row of rows) {
    console.log(row.map((cell, i) => (i < 3 ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]))).join("  "));
  }
}

function report(run, skipped) {
  const number = (n) => n.toLocaleString("en");
  table([
    ["chain", "version", "rules", "transactions", "reverted", "calls", "logs", "gas"],
    ...run.chains.map((chain) => {
      const { transactions, reverted, calls, logs, gas } = run.tally.get(chain);
      return [chain.name, chain.version, chain.rules, ...[transactions, reverted, calls, logs, gas].map(number)];
    }),
  ]);
  const unmet = (all, own) =>
    [...all].filter(([name, fragment]) => own.has(fragment.name) && !run.seen.has(name)).map(([name]) => name);
  const missing = unmet(errors, declared("error")).filter((name) => !NOT_MET.has(name));
  const silent = unmet(events, declared("event"));
  for (const [name, why] of NOT_MET) console.log(`not met: ${name}, ${why}`);
  if (run.incomparable > 0) console.log(`gas not compared: ${run.incomparable}, headers of other length`);
  for (const difference of run.differences.slice(0, DIFFERENCES_SHOWN)) console.error(difference);
  if (missing.length > 0) console.error(`custom errors that were not met: ${missing.join(", ")}`);
  if (silent.length > 0) console.error(`events that were not seen: ${silent.join(", ")}`);
  console.log(`differences: ${run.differences.length}${skipped.length > 0 ? `   !!! SKIPPED: ${skipped.join(", ")}` : ""}`);
  return run.differences.length === 0 && missing.length === 0 && silent.length === 0;
}

/** Names of the errors or events that our own sources declare; the artifacts also hold those of libraries. */
function declared(kind) {
  const sources = new URL("../src/", import.meta.url);
  const text = fs.readdirSync(sources).map((file) => fs.readFileSync(new URL(file, sources), "utf8"));
  return new Set([...text.join("\n").matchAll(new RegExp(`^ +${kind} (\\w+)\\(`, "gm"))].map(([, name]) => name));
}

const chains = [];
try {
  const skipped = await startChains(chains);
  if (chains.length < 2) throw new Error("there is nothing to compare with");
  const run = new Lockstep(chains);
  await run.begin();
  await play(run);
  process.exitCode = report(run, skipped) ? 0 : 1;
} finally {
  for (const chain of chains) await chain.stop();
}
