// Plays every step on all chains and compares what came of it.
//
// Accounts, nonces, block numbers and times are the same everywhere, so contracts have the same addresses and everything a
// chain answers must be the same word by word. Two things cannot be: hashes of blocks, because each chain has its own idea of
// a state root, and what follows from them (header hashes and signatures). Such words are entered with a name when they arise and
// compared by it; bytes of calldata that differ cost different gas, so gas is compared without the calldata's part of it.
import fs from "node:fs";
import { AbiCoder, Interface, Transaction, Wallet, ZeroAddress, concat, getBytes, getCreateAddress, id } from "ethers";
import { CHAIN_ID } from "./chains.mjs";

const ARTIFACTS = new URL("../artifacts/", import.meta.url);
/** Below the most that a transaction may ask for (EIP-7825). */
const GAS_LIMIT = 16_000_000n;
const GWEI = 1_000_000_000n;
/** Gas of a calldata token and of its floor (EIP-7623). */
const TOKEN_GAS = 4n;
const FLOOR_GAS = 10n;
const BASE_GAS = 21_000n;

export const artifacts = new Map(
  fs.readdirSync(ARTIFACTS).map((file) => {
    const artifact = JSON.parse(fs.readFileSync(new URL(file, ARTIFACTS), "utf8"));
    return [artifact.contractName, { ...artifact, interface: new Interface(artifact.abi) }];
  }),
);

/** The custom errors (or events) of all contracts, by their name and types. */
const fragments = (type) =>
  new Map(
    [...artifacts.values()].flatMap((a) => a.interface.fragments.filter((f) => f.type === type)).map((f) => [f.format(), f]),
  );
export const errors = fragments("error");
export const events = fragments("event");
/** The same by what names them in data: the selector of an error, the topic of an event. */
const errorBySelector = new Map([...errors.values()].map((fragment) => [fragment.selector, fragment]));
const eventByTopic = new Map([...events.values()].map((fragment) => [fragment.topicHash, fragment]));

/** A key whose owner everybody knows, like everything on these chains. */
export const account = (name) => new Wallet(id(`assay conformance: ${name}`));

/** Tokens of calldata: one for a zero byte, four for any other. */
function calldataTokens(data) {
  return getBytes(data).reduce((sum, byte) => sum + (byte === 0 ? 1n : 4n), 0n);
}

function sign(wallet, fields) {
  const fees = { maxFeePerGas: 100n * GWEI, maxPriorityFeePerGas: 0n };
  const tx = Transaction.from({ type: 2, chainId: CHAIN_ID, gasLimit: GAS_LIMIT, ...fees, ...fields });
  tx.signature = wallet.signingKey.sign(tx.unsignedHash);
  return tx.serialized;
}

/** Chains that go from step to step together, and how they differed. */
export class Lockstep {
  #nonces = new Map();
  #names = new Map();
  #labels = new Map();
  #pass = 1;
  #ownWork = false;

  constructor(chains) {
    this.chains = chains;
    this.differences = [];
    /** Transactions whose gas is not compared. */
    this.incomparable = 0;
    this.seen = new Set();
    this.tally = new Map(chains.map((c) => [c, { transactions: 0, reverted: 0, calls: 0, logs: 0, gas: 0n }]));
    for (const chain of chains) this.#names.set(chain, new Map());
  }

  /** Brings all chains to the same block: those that follow have been started at the head of the first. */
  async begin() {
    this.now = await this.chains[0].head();
    await this.mine(2);
  }

  /** Coin for gas. */
  async fund(wallet) {
    await Promise.all(this.chains.map((chain) => chain.setBalance(wallet.address, 10n ** 24n)));
  }

  /** From now on the word that `of(chain)` gives is called `name` on every chain. */
  name(name, of) {
    for (const chain of this.chains) this.#names.get(chain).set(of(chain).slice(2).toLowerCase(), name);
  }

  /** What reports call a contract. */
  label(address, name) {
    this.#labels.set(address.toLowerCase(), name);
  }

  /** Steps whose input has another shape on every chain, so that their gas says nothing; everything else is compared. */
  async withOwnWork(steps) {
    this.#ownWork = true;
    await steps();
    this.#ownWork = false;
  }

  /** Asks every chain on its own; the answers by chain. */
  async each(of) {
    const results = new Map();
    for (const chain of this.chains) results.set(chain, await of(chain));
    return results;
  }

  /** Lets time pass: one empty block, `seconds` later. */
  async pass(seconds) {
    this.#pass = seconds;
    await this.mine(1);
  }

  /** Empty blocks. */
  async mine(count) {
    // The blocks before the last have times of the chains' own choice, for which there has to be room.
    this.#pass = Math.max(this.#pass, count);
    await this.#inTurn(count, async (chain, i) => {
      if (i === 0) return chain.mine(count);
      if (count > 1) await chain.mine(count - 1);
      await this.#follow(chain);
      return chain.mine(1);
    });
    await this.#sameBlock();
  }

  /** The first chain goes ahead, the others go after it together and in its time. All are in the same block then. */
  async #inTurn(blocks, act) {
    const [leader, ...others] = this.chains;
    await leader.advance(this.#pass);
    this.#pass = 1;
    const results = [await act(leader, 0)];
    this.next = await leader.head();
    if (this.next.number !== this.now.number + blocks) throw new Error(`${leader.name}: a block came by itself; start again`);
    results.push(...(await Promise.all(others.map((chain, i) => act(chain, i + 1)))));
    this.now = this.next;
    return results;
  }

  /** That all chains are in the same block at the same time. */
  async #sameBlock() {
    for (const chain of this.chains) {
      const { number, timestamp } = await chain.head();
      if (number === this.now.number && timestamp === this.now.timestamp) continue;
      throw new Error(`${chain.name} is in block ${number} at ${timestamp}, not in ${this.now.number} at ${this.now.timestamp}`);
    }
  }

  async #follow(chain) {
    if (chain.follow === null) throw new Error(`${chain.name} cannot follow another chain's time`);
    await chain.follow(this.next.timestamp);
  }

  /** Where the next contract that `wallet` creates, or the one after `skip` more transactions, will be. */
  createAddress(wallet, skip = 0) {
    return getCreateAddress({ from: wallet.address, nonce: (this.#nonces.get(wallet.address) ?? 0) + skip });
  }

  /** Deploys an artifact; returns what `send` and `view` take. */
  async deploy(wallet, name, args = []) {
    const { bytecode, interface: abi } = artifacts.get(name);
    const at = this.createAddress(wallet);
    const data = concat([bytecode, abi.encodeDeploy(args)]);
    const results = await this.#transact(`new ${name}`, wallet, null, () => data, 0n, null);
    this.#agree(`new ${name}`, "address", results.map((r) => r.created));
    if (results[0].created !== at.toLowerCase()) throw new Error(`${name} is at ${results[0].created}, not at ${at}`);
    this.label(at, name);
    return this.contract(name, at);
  }

  contract(name, address) {
    return { name, address, abi: artifacts.get(name).interface };
  }

  /** A deployment that must fail with the error `error`. */
  async refuseDeploy(error, wallet, name, args) {
    const { bytecode, interface: abi } = artifacts.get(name);
    const data = concat([bytecode, abi.encodeDeploy(args)]);
    await this.#transact(`new ${name}`, wallet, null, () => data, 0n, error);
  }

  /** A transaction that must succeed. `args` is a list, or gives one for a chain. */
  async send(wallet, to, method, args = [], value = 0n) {
    await this.#transact(`${to.name}.${method}`, wallet, to.address, this.#data(to, method, args), value, null);
  }

  /** A transaction that must fail with the custom error `error`. */
  async refuse(error, wallet, to, method, args = [], value = 0n) {
    await this.#transact(`${to.name}.${method}`, wallet, to.address, this.#data(to, method, args), value, error);
  }

  /** The chain's own coin to an address. */
  async pay(wallet, to, value) {
    await this.#transact("coin", wallet, to, () => "0x", value, null);
  }

  #data(to, method, args) {
    const fragment = to.abi.getFunction(method);
    const encode = (list) => to.abi.encodeFunctionData(fragment, list);
    if (typeof args === "function") return (chain) => encode(args(chain));
    const same = encode(args);
    return () => same;
  }

  /** What a view says, the same everywhere; `args` as for `send`. */
  async view(to, method, args = [], error = null) {
    const what = `${to.name}.${method}`;
    const data = this.#data(to, method, args);
    const answers = await this.#callAll(what, { from: ZeroAddress, to: to.address, value: 0n }, this.chains.map(data), error);
    if (error !== null) return undefined;
    const result = to.abi.decodeFunctionResult(method, answers[0].data);
    return result.length === 1 ? result[0] : result;
  }

  async #callAll(what, request, inputs, error) {
    const answers = await Promise.all(this.chains.map((chain, i) => chain.call({ ...request, data: inputs[i] })));
    for (const chain of this.chains) this.tally.get(chain).calls += 1;
    answers.forEach((answer, i) => {
      const found = answer.ok ? null : this.#errorName(answer.data);
      if (found !== error) {
        const at = `${this.chains[i].name}: ${what}`;
        throw new Error(`${at}: expected ${error ?? "success"}, got ${found ?? "success"}\n${answer.data.slice(0, 400)}`);
      }
    });
    const words = answers.map((answer, i) => this.#plain(this.chains[i], answer.data, answer.ok ? 0 : 4));
    this.#agree(what, error === null ? "result" : "revert data", words);
    if (error !== null) this.seen.add(errorBySelector.get(answers[0].data.slice(0, 10)).format());
    return answers;
  }

  #errorName(data) {
    if (data === "0x") return "no data";
    return errorBySelector.get(data.slice(0, 10))?.name ?? data.slice(0, 10);
  }

  /** Asks every chain what would happen, lets it happen and compares both. */
  async #transact(what, wallet, to, data, value, error) {
    const from = wallet.address;
    const nonce = this.#nonces.get(from) ?? 0;
    const inputs = this.chains.map(data);
    await this.#callAll(what, { from, to: to ?? undefined, value }, inputs, error);
    const signed = new Map();
    for (const input of inputs) if (!signed.has(input)) signed.set(input, sign(wallet, { nonce, to, value, data: input }));
    const results = await this.#inTurn(1, async (chain, i) => {
      if (i > 0) await this.#follow(chain);
      return chain.send(signed.get(inputs[i]));
    });
    this.#nonces.set(from, nonce + 1);
    this.#agree(what, "block", results.map((result) => result.number));
    results.forEach(({ status, logs, gasUsed }, i) => {
      const tally = this.tally.get(this.chains[i]);
      tally.transactions += 1;
      tally.reverted += status === 0 ? 1 : 0;
      tally.logs += logs.length;
      tally.gas += gasUsed;
      if (status !== (error === null ? 1 : 0)) throw new Error(`${this.chains[i].name}: ${what}: status ${status}`);
    });
    if (this.#ownWork) this.incomparable += 1;
    else this.#agreeGas(what, results.map(({ gasUsed }) => gasUsed), inputs.map(calldataTokens));
    this.#agree(what, "logs", results.map(({ logs }, i) => JSON.stringify(logs.map((log) => this.#log(this.chains[i], log)))));
    return results;
  }

  /**
   * Compares gas without what the calldata costs. A transaction that pays the floor of EIP-7623 shows only that it needed no
   * more than that, which must hold for what the other chains needed.
   */
  #agreeGas(what, gasUsed, tokens) {
    const most = tokens.map((t) => BASE_GAS + (FLOOR_GAS - TOKEN_GAS) * t);
    const needed = gasUsed.map((gas, i) => gas - TOKEN_GAS * tokens[i]);
    const known = needed.find((gas, i) => gas > most[i]);
    const floor = (gas, i) => gas === most[i] && (known === undefined || known <= gas);
    this.#agree(what, "gas", needed.map((gas, i) => (floor(gas, i) ? (known ?? "the floor") : gas)));
  }

  #log(chain, { address, topics, data }) {
    const known = this.#labels.get(address);
    const event = eventByTopic.get(topics[0]);
    if (event) this.seen.add(event.format());
    return {
      address: known ? `${known} ${address}` : address,
      topics: topics.map((topic) => this.#plain(chain, topic, 0)),
      data: this.#plain(chain, data, 0),
    };
  }

  /** Data by words, those with a name as that name. */
  #plain(chain, data, start) {
    const names = this.#names.get(chain);
    const hex = data.slice(2).toLowerCase();
    const words = hex.slice(2 * start).match(/.{1,64}/g) ?? [];
    return [hex.slice(0, 2 * start), ...words.map((word) => names.get(word) ?? word)].join(" ");
  }

  #agree(what, of, values) {
    values.forEach((value, i) => {
      if (value === values[0]) return;
      this.differences.push({ what, of, block: this.now.number, [this.chains[0].name]: values[0], [this.chains[i].name]: value });
    });
  }
}

export const abiEncode = (types, values) => AbiCoder.defaultAbiCoder().encode(types, values);
