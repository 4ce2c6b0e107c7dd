// Three EVMs behind one small interface:
//
//   name, version, rules     what it is, and the fork whose rules it runs
//   head()                   { number, timestamp, hash } of the newest block
//   hashOf(number)           hash of a recent block
//   headerOf(number)         the same block's header in RLP
//   setBalance(address, wei)
//   advance(seconds)         the next block is that much later, at least; for the chain that leads
//   follow(timestamp)        the next block has exactly this time; for chains that can be told, null otherwise
//   mine(count)              empty blocks
//   call(request)            { ok, data } of a call on the state and in the block of the head
//   send(raw)                { status, gasUsed, logs, created, number } of a transaction alone in its block
//   stop()
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createBlock } from "@ethereumjs/block";
import { Mainnet, createCustomCommon } from "@ethereumjs/common";
import { createTx, createTxFromRLP } from "@ethereumjs/tx";
import { Account, bytesToHex, createAddressFromString, hexToBytes } from "@ethereumjs/util";
import { SimpleStateManager } from "@ethereumjs/statemanager";
import { createVM, runTx } from "@ethereumjs/vm";
import { encodeRlp, id, keccak256, toBeArray, toQuantity } from "ethers";

const { devDependencies: wanted } = JSON.parse(fs.readFileSync(new URL("../package.json", import.meta.url), "utf8"));

export const CHAIN_ID = 31_337;
/** The rules all chains run. The embedded chain knows no others. */
const RULES = "osaka";
const BLOCK_GAS = 60_000_000n;
const BASE_FEE = 1_000_000_000n;
/** Fields of a block's header in the order of its RLP list, as JSON-RPC calls them. */
const HEADER_FIELDS = [
  ...["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot"].map((name) => [name, "data"]),
  ["logsBloom", "data"],
  ...["difficulty", "number", "gasLimit", "gasUsed", "timestamp"].map((name) => [name, "number"]),
  ...["extraData", "mixHash", "nonce"].map((name) => [name, "data"]),
  ["baseFeePerGas", "number"],
  ["withdrawalsRoot", "data"],
  ...["blobGasUsed", "excessBlobGas"].map((name) => [name, "number"]),
  ...["parentBeaconBlockRoot", "requestsHash"].map((name) => [name, "data"]),
];
/** Longest wait for a process to listen or for a receipt, in milliseconds. */
const PATIENCE = 30_000;

/** A chain that cannot be had on this machine; the message says why and what to do. */
export class Unavailable extends Error {}

/** Asks `attempt` until it answers, at most PATIENCE. */
async function until(what, attempt) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
    const answer = await attempt();
    if (answer !== undefined && answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`${what}: nothing came within ${PATIENCE / 1000} s`);
}

/** Starts a program and waits for a line of its output that `pattern` matches; returns it and what the pattern caught. */
async function start(program, args, pattern) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let ended;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  child.on("error", (error) => (ended = error.message));
  child.on("exit", (code) => (ended ??= `ended with code ${code}`));
  const kill = () => child.kill("SIGTERM");
  // Also when this process breaks off.
  process.on("exit", kill);
  const match = await until(program, () => {
    if (ended !== undefined) throw new Error(`${program} ${ended}\n${output}`);
    return output.match(pattern);
  });
  const stop = () =>
    new Promise((resolve) => {
      process.off("exit", kill);
      if (ended !== undefined) return resolve();
      child.on("exit", resolve);
      kill();
    });
  return { caught: match[1], stop };
}

/** A chain behind a JSON-RPC port. */
class Rpc {
  #id = 0;
  #agent = new http.Agent({ keepAlive: true });

  constructor(name, url, stop) {
    Object.assign(this, { name, url, rules: RULES, stopProcess: stop });
  }

  /** The answer's result, or its error as it stands. */
  async #ask(method, params) {
    const body = JSON.stringify({ jsonrpc: "2.0", id: ++this.#id, method, params });
    const options = { method: "POST", agent: this.#agent, headers: { "content-type": "application/json" } };
    return new Promise((resolve, reject) => {
      const request = http.request(this.url, options, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => resolve(JSON.parse(Buffer.concat(chunks))));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  async request(method, ...params) {
    const answer = await this.#ask(method, params);
    if (answer.error) throw new Error(`${this.name}: ${method}: ${answer.error.message}`);
    return answer.result;
  }

  async #block(tag) {
    const block = await this.request("eth_getBlockByNumber", tag, false);
    return { number: Number(block.number), timestamp: Number(block.timestamp), hash: block.hash };
  }

  head() {
    return this.#block("latest");
  }

  async hashOf(number) {
    return (await this.#block(toQuantity(number))).hash;
  }

  async headerOf(number) {
    const block = await this.request("eth_getBlockByNumber", toQuantity(number), false);
    const header = encodeRlp(HEADER_FIELDS.map(([name, kind]) => (kind === "number" ? toBeArray(block[name]) : block[name])));
    if (keccak256(header) !== block.hash) throw new Error(`${this.name}: the fields of block ${number} do not hash to its hash`);
    return header;
  }

  async call({ from, to, data, value }) {
    const answer = await this.#ask("eth_call", [{ from, to, data, value: toQuantity(value) }, "latest"]);
    if (!answer.error) return { ok: true, data: answer.result };
    if (typeof answer.error.data !== "string") throw new Error(`${this.name}: eth_call: ${JSON.stringify(answer.error)}`);
    return { ok: false, data: answer.error.data };
  }

  async send(raw) {
    const hash = await this.request("eth_sendRawTransaction", raw);
    const receipt = await until(`${this.name}: receipt`, () => this.request("eth_getTransactionReceipt", hash));
    return {
      status: Number(receipt.status),
      gasUsed: BigInt(receipt.gasUsed),
      logs: receipt.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data })),
      created: receipt.contractAddress?.toLowerCase() ?? null,
      number: Number(receipt.blockNumber),
    };
  }

  stop() {
    this.#agent.destroy();
    return this.stopProcess();
  }
}

/** The development chain of `assay devnet`. Its clock can be moved but not set, so it leads. */
class Embedded extends Rpc {
  setBalance(address, wei) {
    return this.request("dev_setBalance", address, toQuantity(wei));
  }

  advance(seconds) {
    return this.request("dev_increaseTime", seconds);
  }

  follow = null;

  mine(count) {
    return this.request("dev_mine", count);
  }
}

class Anvil extends Rpc {
  setBalance(address, wei) {
    return this.request("anvil_setBalance", address, toQuantity(wei));
  }

  async advance(seconds) {
    await this.follow((await this.head()).timestamp + seconds);
  }

  follow(timestamp) {
    return this.request("evm_setNextBlockTimestamp", toQuantity(timestamp));
  }

  mine(count) {
    return this.request("anvil_mine", toQuantity(count));
  }
}

/** `binary` is a build of the node; its data goes to a folder that is removed at the end. */
export async function embedded(binary) {
  if (!binary) throw new Unavailable("no binary of the node given; set ASSAY=path/to/assay");
  if (!fs.existsSync(binary)) throw new Error(`ASSAY=${binary} does not exist; build it, or leave ASSAY out to go without`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "assay-conformance-"));
  const remove = () => fs.rmSync(folder, { recursive: true, force: true });
  try {
    // Ten minutes between blocks: only transactions make blocks here.
    const args = ["devnet", "--data-dir", folder, "--port", "0", "--block-ms", "600000", "--json"];
    const { caught, stop } = await start(path.resolve(binary), args, /"rpc":\["([^"]+)"\]/);
    const chain = new Embedded("embedded", caught, async () => {
      await stop();
      remove();
    });
    chain.version = await chain.request("web3_clientVersion");
    return chain;
  } catch (error) {
    remove();
    throw error;
  }
}

/** anvil of the npm package, from the block `head` on. */
export async function anvil(head) {
  let program;
  try {
    const require = createRequire(import.meta.url);
    program = path.join(path.dirname(require.resolve("@foundry-rs/anvil-linux-amd64/package.json")), "bin", "anvil");
  } catch {
    throw new Unavailable("anvil is shipped for Linux on x86-64 only, or `npm install` was not run");
  }
  const args = ["--port", "0", "--hardfork", RULES, "--chain-id", CHAIN_ID, "--gas-limit", BLOCK_GAS, "--accounts", "1"];
  args.push("--number", head.number, "--timestamp", head.timestamp);
  const { caught, stop } = await start(program, args.map(String), /Listening on (\S+)/);
  const chain = new Anvil("anvil", `http://${caught}`, stop);
  chain.version = await chain.request("web3_clientVersion");
  return chain;
}

/** @ethereumjs/vm in this process: an EVM that shares no code with the other two. */
export async function ethereumjs(head, rules = RULES) {
  const common = createCustomCommon({ chainId: CHAIN_ID }, Mainnet, { hardfork: rules });
  const blocks = new Map();
  const blockchain = {
    getBlock: async (number) => blocks.get(Number(number)),
    putBlock: async () => {},
    shallowCopy: () => blockchain,
  };
  // Nobody asks for a state root, so the state needs no trie.
  const vm = await createVM({ common, blockchain, stateManager: new SimpleStateManager({ common }), evmOpts: { blockchain } });
  const make = (number, timestamp, parent, gasUsed = 0n) => {
    const parentHash = parent?.hash() ?? new Uint8Array(32);
    const mixHash = id(`randomness of block ${number}`);
    const header = { number, timestamp, parentHash, gasUsed, mixHash, gasLimit: BLOCK_GAS, baseFeePerGas: BASE_FEE };
    return createBlock({ header }, { common, skipConsensusFormatValidation: true });
  };
  let newest = make(head.number, head.timestamp);
  let nextTime = head.timestamp + 1;
  const push = (block) => {
    newest = block;
    blocks.set(Number(block.header.number), block);
    nextTime = Number(block.header.timestamp) + 1;
  };
  push(newest);
  const upcoming = () => make(Number(newest.header.number) + 1, nextTime, newest);
  const account = async (address) => (await vm.stateManager.getAccount(address)) ?? new Account();

  return {
    name: "ethereumjs",
    version: `@ethereumjs/vm ${wanted["@ethereumjs/vm"]}`,
    rules,
    head: async () => ({
      number: Number(newest.header.number),
      timestamp: Number(newest.header.timestamp),
      hash: bytesToHex(newest.hash()),
    }),
    hashOf: async (number) => bytesToHex(blocks.get(number).hash()),
    headerOf: async (number) => bytesToHex(blocks.get(number).header.serialize()),
    setBalance: async (address, wei) => {
      const at = createAddressFromString(address);
      const now = await account(at);
      now.balance = BigInt(wei);
      await vm.stateManager.putAccount(at, now);
    },
    advance: async (seconds) => {
      nextTime = Number(newest.header.timestamp) + seconds;
    },
    follow: async (timestamp) => {
      nextTime = timestamp;
    },
    mine: async (count) => {
      const time = nextTime;
      for (let i = 0; i < count; ++i) push(make(Number(newest.header.number) + 1, time, newest));
    },
    call: async ({ from, to, data, value }) => {
      const sender = createAddressFromString(from);
      const fields = { type: 2, chainId: BigInt(CHAIN_ID), nonce: (await account(sender)).nonce, gasLimit: 16_000_000n };
      const fees = { maxFeePerGas: BASE_FEE, maxPriorityFeePerGas: 0n };
      const tx = createTx({ ...fields, ...fees, to, value: BigInt(value), data: hexToBytes(data) }, { common, freeze: false });
      // A call is a transaction without a signature whose effects are thrown away.
      Object.assign(tx, { getSenderAddress: () => sender, isSigned: () => true, verifySignature: () => true });
      await vm.stateManager.checkpoint();
      try {
        const options = { tx, block: newest, skipBalance: true, skipBlockGasLimitValidation: true };
        const { execResult } = await runTx(vm, options);
        return { ok: !execResult.exceptionError, data: bytesToHex(execResult.returnValue) };
      } finally {
        await vm.stateManager.revert();
      }
    },
    send: async (raw) => {
      const tx = createTxFromRLP(hexToBytes(raw), { common });
      const result = await runTx(vm, { tx, block: upcoming() });
      push(make(Number(newest.header.number) + 1, nextTime, newest, result.totalGasSpent));
      return {
        status: result.execResult.exceptionError ? 0 : 1,
        gasUsed: result.totalGasSpent,
        logs: (result.execResult.logs ?? []).map(([address, topics, data]) => ({
          address: bytesToHex(address),
          topics: topics.map((topic) => bytesToHex(topic)),
          data: bytesToHex(data),
        })),
        created: result.createdAddress?.toString().toLowerCase() ?? null,
        number: Number(newest.header.number),
      };
    },
    stop: async () => {},
  };
}
