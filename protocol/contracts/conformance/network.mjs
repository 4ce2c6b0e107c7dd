// A whole network on all chains: contracts, lanes, committees that sign, epochs with all their trees.
import { TypedDataEncoder, ZeroHash, id, keccak256 } from "ethers";
import { CHAIN_ID } from "./chains.mjs";
import { abiEncode, account } from "./lockstep.mjs";
import { Tree, auditLeaf, byAddress, bonusLeaf, flatLeaf, lossLeaf, payoutLeaf, reputationLeaf, stateRoot } from "./trees.mjs";

export const DAY = 86_400;
export const TERMS = {
  minStake: 100_000_000n,
  bond: 10_000_000n,
  unbond: 7 * DAY,
  slashBps: 1_000,
  fallback: 14 * DAY,
  committee: 4,
  term: 2,
  /** Seconds before a root can be claimed, by lane. */
  delays: [DAY, 0, 0],
};

const HEADER = {
  EpochHeader: [
    ["uint32", "lane"],
    ["uint64", "epoch"],
    ["uint32", "view"],
    ["uint64", "term"],
    ["bytes32", "parent"],
    ["uint64", "chainBlock"],
    ["bytes32", "chainBlockHash"],
    ["bytes32", "recordsRoot"],
    ["bytes32", "stateRoot"],
    ["bytes32", "payoutRoot"],
    ["bytes32", "auditRoot"],
    ["uint32", "payoutCount"],
    ["bytes32", "lossRoot"],
    ["bytes32", "reputationRoot"],
    ["bytes32", "payoutFile"],
    ["uint256", "totalOwed"],
    ["bytes32", "settledHash"],
  ].map(([type, name]) => ({ type, name })),
};

const OVERRULE = { Overrule: [{ type: "bytes32", name: "header" }] };

/** The header of no epoch, as `withdraw` wants it of a lane without any. */
export const noHeader = (lane) => {
  const zeros = HEADER.EpochHeader.map(({ type, name }) => [name, type === "bytes32" ? ZeroHash : 0]);
  return { ...Object.fromEntries(zeros), lane };
};

/** Deploys everything in the order of ../README.md; the deployer keeps no right. */
export async function deploy(run, deployer) {
  const token = await run.deploy(deployer, "DevToken");
  const beacon = await run.deploy(deployer, "TestBeacon");
  const lanes = TERMS.delays.length;
  const anchorAt = run.createAddress(deployer, 2 + lanes);
  const judgeAt = run.createAddress(deployer, 3 + lanes);
  const terms = [token.address, TERMS.minStake, TERMS.bond, TERMS.unbond, TERMS.slashBps, anchorAt];
  const registry = await run.deploy(deployer, "Registry", terms);
  const distributors = [];
  for (const [lane, delay] of TERMS.delays.entries()) {
    distributors.push(await run.deploy(deployer, "RewardDistributor", [token.address, anchorAt, lane, delay]));
  }
  const escrow = await run.deploy(deployer, "TaskEscrow", [token.address, anchorAt, TERMS.fallback]);
  const anchor = await run.deploy(deployer, "EpochAnchor", [
    registry.address,
    escrow.address,
    distributors.map((d) => d.address),
    beacon.address,
    judgeAt,
    TERMS.committee,
    TERMS.term,
  ]);
  const disputes = await run.deploy(deployer, "Disputes", [anchor.address]);
  const reputation = await run.deploy(deployer, "ReputationAnchor", [anchor.address]);
  const datasets = await run.deploy(deployer, "DatasetShares");
  const bonus = await run.deploy(deployer, "BonusPool", [anchor.address, escrow.address]);
  const splitter = run.contract("RevenueSplitter", await run.view(datasets, "splitter"));
  run.label(splitter.address, "RevenueSplitter");
  return { token, beacon, registry, distributors, escrow, anchor, disputes, reputation, datasets, bonus, splitter };
}

/** A signed epoch. Its header has another parent and block hash on every chain, and so another hash. */
class Epoch {
  #headers = new Map();
  #hashes = new Map();

  constructor(fields, trees, parent, blockHashes, domain) {
    Object.assign(this, { fields, trees, domain });
    this.chainBlockHashes = blockHashes;
    for (const [chain, chainBlockHash] of blockHashes) {
      const header = { ...fields, parent: parent?.hash(chain) ?? ZeroHash, chainBlockHash };
      this.#headers.set(chain, header);
      this.#hashes.set(chain, TypedDataEncoder.hashStruct("EpochHeader", HEADER, header));
    }
  }

  header(chain) {
    return this.#headers.get(chain);
  }

  hash(chain) {
    return this.#hashes.get(chain);
  }

  /** EIP-2098 signatures of the header's digest, in the order of the wallets. */
  signatures(chain, wallets) {
    const digest = TypedDataEncoder.hash(this.domain, HEADER, this.header(chain));
    return `0x${wallets.map((w) => w.signingKey.sign(digest).compactSerialized.slice(2)).join("")}`;
  }

  /** Signatures against this header, in the order of the wallets. */
  votes(chain, wallets) {
    const digest = TypedDataEncoder.hash(this.domain, OVERRULE, { header: this.hash(chain) });
    return `0x${wallets.map((w) => w.signingKey.sign(digest).compactSerialized.slice(2)).join("")}`;
  }

  /** Payout leaf of the `i`th payee, with its proof. */
  leaf(i) {
    const [payee, total] = this.trees.payouts[i];
    return { payee, total, index: i, proof: this.trees.payout.proof(i) };
  }

  audit(i) {
    const [payee, total, before] = this.trees.audits[i];
    return { payee, total, before, index: i, proof: this.trees.audit.proof(i) };
  }

  /** Position of a payee in the payout tree. */
  place(address) {
    return this.trees.payouts.findIndex(([payee]) => payee === address);
  }
}

/** One lane: what was posted, who serves, what everybody is owed. */
export class Lane {
  constructor(run, net, number) {
    Object.assign(this, { run, net, number, distributor: net.distributors[number] });
    this.posted = [];
    this.released = 0n;
    this.members = [];
    this.serial = 0;
    this.draws = 0;
  }

  get head() {
    return this.posted.at(-1);
  }

  /** Draws a committee: at once when everybody fits, else by the beacon, whose values are the same in every run. */
  async draw(caller) {
    const { run, net, number } = this;
    if ((await run.view(net.registry, "validatorCount")) > BigInt(TERMS.committee)) {
      await run.send(caller, net.anchor, "requestDraw", [number]);
      const [, ref] = await run.view(net.anchor, "pendingDraw", [number]);
      await run.send(caller, net.beacon, "set", [ref, id(`seed ${number} ${++this.draws}`)]);
    }
    await run.send(caller, net.anchor, "drawCommittee", [number]);
    await this.readCommittee();
  }

  async readCommittee() {
    const [term, members, threshold] = await this.run.view(this.net.anchor, "committee", [this.number]);
    this.term = term;
    this.members = members.map((member) => this.net.wallets.get(member));
    this.threshold = Number(threshold);
  }

  /**
   * The next header. `pay` is what each payee is owed in all ([address, total], any order), `moved` the money that arrives with
   * it; the rest are leaves of the other trees. `break` changes fields or trees on purpose.
   */
  async next({ pay, moved = 0n, settled = [], losses = [], flats = [], bonuses = [], reputations = [], parent, ...more }) {
    const { run, net, number } = this;
    parent ??= this.head;
    const serial = `${number}/${++this.serial}`;
    const payouts = more.payouts ?? [...(pay ?? parent?.trees.payouts ?? [])].sort(([a], [b]) => byAddress(a, b));
    let sum = 0n;
    const audits =
      more.audits ??
      payouts.map(([payee, total]) => {
        const before = sum;
        sum += total;
        return [payee, total, before];
      });
    const trees = {
      payouts,
      audits,
      payout: new Tree(more.payoutLeaves ?? payouts.map(([payee, total]) => payoutLeaf(payee, total))),
      audit: new Tree(audits.map(([payee, total, before]) => auditLeaf(payee, total, before))),
      loss: new Tree(losses.map(([who, total]) => lossLeaf(who, total))),
      losses,
      flat: new Tree([
        ...flats.map((leaf) => flatLeaf(...leaf)),
        ...bonuses.map(({ task, client, scored, shares }) => bonusLeaf(task, client, scored, shares)),
      ]),
      flats,
      bonuses,
      reputation: new Tree(reputations.map((leaf) => reputationLeaf(...leaf))),
      reputations,
      state: id(`state ${serial}`),
    };
    this.owed = this.released + moved;
    const chainBlock = run.now.number - 1;
    const blockHashes = await run.each((chain) => chain.hashOf(chainBlock));
    run.name(`hash of block ${chainBlock}`, (chain) => blockHashes.get(chain));
    const fields = {
      ...{ lane: number, epoch: BigInt(this.posted.length + 1), view: 0, term: this.term, chainBlock },
      recordsRoot: id(`records ${serial}`),
      stateRoot: stateRoot(trees.state, trees.flat.root),
      payoutRoot: trees.payout.root,
      auditRoot: trees.audit.root,
      payoutCount: payouts.length,
      lossRoot: trees.loss.root,
      reputationRoot: trees.reputation.root,
      payoutFile: id(`file ${serial}`),
      totalOwed: this.owed,
      settledHash: keccak256(abiEncode(["tuple(bytes32 taskId, address client)[]"], [settled])),
      ...more.fields,
    };
    const domain = { name: "Assay", version: "1", chainId: CHAIN_ID, verifyingContract: net.anchor.address };
    const epoch = new Epoch(fields, trees, parent, more.blockHashes ?? blockHashes, domain);
    Object.assign(epoch, { settled, moved });
    run.name(`header ${serial}`, (chain) => epoch.hash(chain));
    return epoch;
  }

  /** Who signs: the first `count` members, as many as needed when none is given. */
  signers(count = this.threshold) {
    return this.members.slice(0, count);
  }

  /** Arguments of `post` with the signatures of the first `count` members. */
  posting(epoch, count = this.threshold) {
    const bits = (1n << BigInt(count)) - 1n;
    return (chain) => [epoch.header(chain), epoch.settled, bits, epoch.signatures(chain, this.signers(count))];
  }

  async post(poster, epoch, count = this.threshold) {
    await this.run.send(poster, this.net.anchor, "post", this.posting(epoch, count));
    this.posted.push(epoch);
    this.released += epoch.moved;
    return epoch;
  }

  /** Evidence against `epoch` with the signatures of `accused`. */
  evidence(epoch, accused, reporter) {
    const from = this.posted.indexOf(epoch);
    return (chain) => ({
      chain: this.posted.slice(from).map((e) => e.header(chain)),
      signatures: epoch.signatures(chain, accused),
      reporter: reporter.address,
    });
  }

  /** The lane went back to before `epoch`. */
  rewound(epoch) {
    this.posted.length = this.posted.indexOf(epoch);
  }
}

/** A registered participant's wallet by its name; known to the network by its address. */
export function participant(net, name) {
  const wallet = account(name);
  net.wallets.set(wallet.address, wallet);
  return wallet;
}
