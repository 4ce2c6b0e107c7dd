// That the comparison finds what it is for: two real EVMs, one of which is not what it should be.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ZeroAddress } from "ethers";
import { ethereumjs } from "./chains.mjs";
import { Lockstep, account } from "./lockstep.mjs";

const START = { number: 5, timestamp: 1_800_000_000 };
const [owner, other] = [account("owner"), account("other")];

/** Plays a few steps on a good chain and on `second`; what differed, as [step, what of it]. */
async function differences(second) {
  const run = new Lockstep([await ethereumjs(START), second]);
  await run.begin();
  for (const wallet of [owner, other]) await run.fund(wallet);
  const token = await run.deploy(owner, "DevToken");
  await run.send(owner, token, "mint", [owner.address, 1_000]);
  await run.refuse("ERC20InsufficientBalance", other, token, "transfer", [owner.address, 1]);
  // So short of work that it pays the floor for its calldata.
  await run.refuseDeploy("BadConfiguration", owner, "TaskEscrow", [ZeroAddress, ZeroAddress, 0]);
  await run.view(token, "balanceOf", [owner.address]);
  return run.differences.map(({ what, of }) => [what, of]);
}

/** A chain whose receipts are changed by `change`. */
async function lying(change) {
  const chain = await ethereumjs(START);
  return { ...chain, send: async (raw) => change(await chain.send(raw)) };
}

test("two chains of one kind agree in everything", async () => {
  assert.deepEqual(await differences(await ethereumjs(START)), []);
});

test("a chain with the rules of another fork is found out", async () => {
  assert.deepEqual(await differences(await ethereumjs(START, "cancun")), [["new TaskEscrow", "gas"]]);
});

test("one unit of gas is found out", async () => {
  const found = await differences(await lying((receipt) => ({ ...receipt, gasUsed: receipt.gasUsed + 1n })));
  assert.deepEqual(found, ["new DevToken", "DevToken.mint", "DevToken.transfer", "new TaskEscrow"].map((what) => [what, "gas"]));
});

test("a missing log and a changed bit of one are found out", async () => {
  const without = await lying((receipt) => ({ ...receipt, logs: receipt.logs.slice(1) }));
  assert.deepEqual(await differences(without), [["DevToken.mint", "logs"]]);
  const bit = (data) => `${data.slice(0, -1)}${data.endsWith("8") ? "9" : "8"}`;
  const changed = await lying((receipt) => ({ ...receipt, logs: receipt.logs.map((log) => ({ ...log, data: bit(log.data) })) }));
  assert.deepEqual(await differences(changed), [["DevToken.mint", "logs"]]);
});

test("other revert data and another answer of a view are found out", async () => {
  const chain = await ethereumjs(START);
  const bit = (data) => `${data.slice(0, -1)}${data.endsWith("8") ? "9" : "8"}`;
  const call = async (request) => {
    const answer = await chain.call(request);
    return request.data.length < 200 ? { ...answer, data: bit(answer.data) } : answer;
  };
  const found = await differences({ ...chain, call });
  assert.deepEqual(found.slice(-2), [["DevToken.transfer", "revert data"], ["DevToken.balanceOf", "result"]]);
});

test("a transaction that fails on one chain alone ends the story", async () => {
  const failing = await lying((receipt) => ({ ...receipt, status: 0 }));
  await assert.rejects(differences(failing), /new DevToken: status 0/);
});
