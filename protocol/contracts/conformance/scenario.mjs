// One long story of a network, with everything that must be refused on the way.
import { MaxUint256, ZeroAddress, ZeroHash, concat, decodeRlp, id, toBeHex } from "ethers";
import { account } from "./lockstep.mjs";
import { DAY, Lane, TERMS, deploy, noHeader, participant } from "./network.mjs";
import { ShareTree, byAddress } from "./trees.mjs";

const UNIT = 1_000_000n;
const COIN = 10n ** 18n;
const LICENCE = id("licence");
/** Position of the randomness in a block's header. */
const MIX_HASH = 13;
const [CLIENT, LABELER, VALIDATOR] = [1, 2, 4];
const task = (n) => id(`task ${n}`);
const sorted = (list) => [...list].sort((a, b) => byAddress(a[0], b[0]));

/** Errors that this story does not meet, and why. All others must be met on every chain. */
export const NOT_MET = new Map([
  ["ValidatorListFull()", "takes 600 validators"],
  ["BlobNotCreated()", "takes more data than a committee or a draw can have"],
  ["InexactTransfer(uint256,uint256)", "takes a token that keeps a part"],
  ["NothingReceived(address)", "takes a token that moves nothing"],
  ["SafeERC20FailedOperation(address)", "takes a token that returns false"],
  ["ReentrancyGuardReentrantCall()", "takes a token that calls back"],
  ["MalformedHeader()", "takes a chain whose blocks have other headers"],
  ["NoRandomness(uint64)", "takes a chain without randomness"],
]);

class Story {
  constructor(run) {
    this.run = run;
  }

  async setUp() {
    const { run } = this;
    const wallets = new Map();
    const named = (name) => participant({ wallets }, name);
    for (const name of ["deployer", "clumsy", "client", "other", "relayer", "reporter", "buyer"]) this[name] = named(name);
    this.validators = Array.from({ length: 20 }, (_, i) => named(`validator ${i + 1}`));
    this.labelers = Array.from({ length: 6 }, (_, i) => named(`labeler ${i + 1}`));
    this.everybody = [...wallets.values()];
    for (const wallet of this.everybody) await run.fund(wallet);
    this.wallets = wallets;
  }

  // ---- deployment ------------------------------------------------------------------------------------------------------

  async deployment() {
    const { run, deployer } = this;
    this.net = await deploy(run, deployer);
    this.net.wallets = this.wallets;
    this.partner = await run.deploy(deployer, "DevToken");
    this.randomness = await run.deploy(deployer, "PrevrandaoBeacon", [8]);
    this.lanes = TERMS.delays.map((_, number) => new Lane(run, this.net, number));
    for (const wallet of this.everybody) {
      for (const token of [this.net.token, this.partner]) {
        await run.send(deployer, token, "mint", [wallet.address, 100_000n * UNIT]);
      }
    }
  }

  async badDeployments() {
    const { run, clumsy, net } = this;
    const [token, anchor] = [net.token.address, net.anchor.address];
    const registry = (...change) => Object.assign([token, TERMS.minStake, TERMS.bond, TERMS.unbond, 1_000, anchor], ...change);
    await run.refuseDeploy("BadConfiguration", clumsy, "Registry", registry({ 0: ZeroAddress }));
    await run.refuseDeploy("BadConfiguration", clumsy, "Registry", registry({ 4: 10_001 }));
    await run.refuseDeploy("BadConfiguration", clumsy, "RewardDistributor", [token, ZeroAddress, 0, 0]);
    await run.refuseDeploy("BadConfiguration", clumsy, "TaskEscrow", [token, anchor, 0]);
    await run.refuseDeploy("BadConfiguration", clumsy, "ReputationAnchor", [ZeroAddress]);
    await run.refuseDeploy("BadConfiguration", clumsy, "RevenueSplitter", [ZeroAddress]);
    await run.refuseDeploy("BadConfiguration", clumsy, "BonusPool", [anchor, ZeroAddress]);
    await run.refuseDeploy("ZeroDelay", clumsy, "PrevrandaoBeacon", [0]);
    const parts = [net.registry.address, net.escrow.address, net.distributors.map((d) => d.address), net.beacon.address];
    await run.refuseDeploy("BadConfiguration", clumsy, "EpochAnchor", [...parts, ZeroAddress, 4, 2]);
    await run.refuseDeploy("BadWiring", clumsy, "EpochAnchor", [...parts, clumsy.address, 4, 2]);
    await run.refuseDeploy("BadWiring", clumsy, "Disputes", [anchor]);
    for (const [error, unbond, fallback] of [
      ["FallbackTooEarly", TERMS.unbond, 2 * DAY],
      ["UnbondTooShort", DAY, TERMS.fallback],
    ]) {
      const at = run.createAddress(clumsy, 3);
      const books = await run.deploy(clumsy, "Registry", registry({ 3: unbond, 5: at }));
      const distributor = await run.deploy(clumsy, "RewardDistributor", [token, at, 0, DAY]);
      const escrow = await run.deploy(clumsy, "TaskEscrow", [token, at, fallback]);
      const wired = [books.address, escrow.address, [distributor.address], net.beacon.address, clumsy.address, 4, 2];
      await run.refuseDeploy(error, clumsy, "EpochAnchor", wired);
    }
  }

  // ---- accounts and committees -----------------------------------------------------------------------------------------

  registration(wallet, roles, stake, change = {}) {
    const key = id(`node key of ${wallet.address}`);
    return Object.assign([key, id(`seal key of ${wallet.address}`), wallet.address, roles, stake, toBeHex(1, 64)], change);
  }

  async register(wallets, roles, stake) {
    const { run, net } = this;
    for (const wallet of wallets) {
      await run.send(wallet, net.token, "approve", [net.registry.address, MaxUint256]);
      await run.send(wallet, net.registry, "register", this.registration(wallet, roles, stake));
    }
  }

  async registering() {
    const { run, net, relayer, deployer, validators, labelers } = this;
    const [first, second] = validators;
    const refuse = (error, change) =>
      run.refuse(error, second, net.registry, "register", this.registration(second, VALIDATOR, TERMS.minStake, change));
    await run.refuse("NoValidators", relayer, net.anchor, "drawCommittee", [0]);
    await run.refuse("NoValidators", relayer, net.anchor, "requestDraw", [0]);
    await run.refuse("UnknownLane", relayer, net.anchor, "requestDraw", [9]);
    await refuse("ERC20InsufficientAllowance", {});
    await this.register([first], VALIDATOR, TERMS.minStake);
    const twice = this.registration(first, VALIDATOR, TERMS.minStake);
    await run.refuse("AlreadyRegistered", first, net.registry, "register", twice);
    await refuse("ZeroNodeKey", { 0: ZeroHash });
    await refuse("NodeKeyTaken", { 0: this.registration(first)[0] });
    await refuse("ZeroPayee", { 2: ZeroAddress });
    await refuse("BadRoles", { 3: 0 });
    await refuse("BadRoles", { 3: 8 });
    await refuse("StakeTooSmall", { 4: TERMS.minStake - 1n });
    await refuse("BadBindingLength", { 5: "0x00" });
    await this.register(validators.slice(1, 3), VALIDATOR, TERMS.minStake);
    await this.register(labelers, LABELER, TERMS.bond);
    await this.register([this.client], CLIENT, 0n);
    await run.refuse("NotRegistered", relayer, net.registry, "addStake", [1]);
    await run.refuse("ZeroAmount", first, net.registry, "addStake", [0]);
    await run.send(first, net.registry, "addStake", [TERMS.minStake]);
    await run.refuse("NotUnbonding", first, net.registry, "withdraw", [[], []]);
    await run.refuse("OnlyDisputes", relayer, net.registry, "slash", [first.address, relayer.address]);
    await run.refuse("MintCapExceeded", relayer, net.token, "mint", [relayer.address, 1_000_000n * UNIT + 1n]);

    await run.refuse("DrawNotNeeded", relayer, net.anchor, "requestDraw", [0]);
    await this.lanes[0].draw(relayer);
    await run.refuse("TermRunning", relayer, net.anchor, "drawCommittee", [0]);
    await this.register(validators.slice(3, 5), VALIDATOR, 5n * TERMS.minStake);
    await this.register(validators.slice(5, 7), VALIDATOR, TERMS.minStake + 1n);
    await run.refuse("DrawNotRequested", relayer, net.anchor, "drawCommittee", [1]);
    await run.send(relayer, net.anchor, "requestDraw", [1]);
    await run.refuse("DrawPending", relayer, net.anchor, "requestDraw", [1]);
    await run.refuse("BeaconNotReady", relayer, net.anchor, "drawCommittee", [1]);
    const [, lost] = await run.view(net.anchor, "pendingDraw", [1]);
    // The value never comes: after 1,024 blocks the draw can be asked for again.
    await run.mine(1_025);
    await run.refuse("ZeroValue", relayer, net.beacon, "set", [lost, ZeroHash]);
    await this.lanes[1].draw(relayer);
    await run.send(relayer, net.beacon, "set", [lost, id("too late")]);
    await run.refuse("AlreadySet", relayer, net.beacon, "set", [lost, id("again")]);
    for (const who of [first, validators[3], relayer]) await run.view(net.registry, "effectiveStake", [who.address]);
    await run.view(net.registry, "validators");
    await run.view(net.registry, "accounts", [deployer.address]);
  }

  // ---- money of tasks --------------------------------------------------------------------------------------------------

  async fund(n, lane, deposit, bond, client = this.client) {
    const { run, net } = this;
    await run.send(client, net.escrow, "fund", [task(n), lane, deposit * UNIT, bond * UNIT]);
  }

  async funding() {
    const { run, net, client, other, relayer } = this;
    for (const wallet of [client, other]) {
      for (const token of [net.token, this.partner]) {
        for (const { address } of [net.escrow, net.bonus, net.splitter]) {
          await run.send(wallet, token, "approve", [address, MaxUint256]);
        }
      }
    }
    await run.refuse("ZeroAmount", client, net.escrow, "fund", [task(1), 0, 0, 1]);
    await run.refuse("UnknownLane", client, net.escrow, "fund", [task(1), 9, 1, 1]);
    await run.refuse("SafeCastOverflowedUintDowncast", client, net.escrow, "fund", [task(1), 0, 1n << 96n, 1]);
    await run.refuse("ERC20InsufficientBalance", client, net.escrow, "fund", [task(1), 0, 1n << 90n, 1]);
    await this.fund(1, 0, 1_000n, 10n);
    await run.refuse("AlreadyFunded", client, net.escrow, "fund", [task(1), 0, 1, 1]);
    await run.refuse("NotFunded", other, net.escrow, "topUp", [task(1), other.address, 1]);
    await run.refuse("ZeroAmount", other, net.escrow, "topUp", [task(1), client.address, 0]);
    await run.send(other, net.escrow, "topUp", [task(1), client.address, 50n * UNIT]);
    await run.refuse("OnlyAnchor", client, net.escrow, "release", [task(1), client.address, 0, 1, client.address]);
    await run.refuse("NothingLate", client, net.escrow, "returnLateTopUp", [task(1), client.address]);
    const forced = [task(1), client.address, toBeHex(0x5a17, 100)];
    await run.send(relayer, net.escrow, "forceRecord", forced);
    await run.refuse("BadRecordLength", relayer, net.escrow, "forceRecord", forced.with(2, "0x"));
    await run.refuse("NotFunded", relayer, net.escrow, "forceRecord", forced.with(1, other.address));
    await this.fund(2, 1, 600n, 0n);
    await this.fund(3, 0, 500n, 0n);
    await this.fund(4, 0, 200n, 40n);
    await this.fund(5, 0, 70n, 0n);
    await this.fund(1, 1, 5n, 5n, other);

    const lock = [task(1), this.partner.address, 300n * UNIT];
    await run.refuse("NotFunded", relayer, net.bonus, "lock", lock);
    await run.refuse("ZeroAmount", client, net.bonus, "lock", [task(1), this.partner.address, 0]);
    for (const n of [1, 1, 3, 5]) await run.send(client, net.bonus, "lock", [task(n), this.partner.address, 300n * UNIT]);
    const till = await run.view(net.bonus, "till", [task(1), client.address]);
    run.label(till, "Till of task 1");
    await run.pay(client, till, COIN);
    await run.refuse("OnlyKeeper", client, run.contract("Till", till), "send", [ZeroAddress, client.address, 1]);
    for (const n of [1, 2, 5]) await run.view(net.escrow, "escrows", [task(n), client.address]);
    await run.mine(2);
  }

  // ---- epochs and claims -----------------------------------------------------------------------------------------------

  /** What a labeler is owed, in whole units. */
  owed(...units) {
    return units.map((amount, i) => [this.labelers[i].address, amount * UNIT]);
  }

  losses(...entries) {
    return sorted(entries.map(([i, units]) => [this.labelers[i].address, units * UNIT]));
  }

  async refusedPosts(lane, good) {
    const { run, net, relayer } = this;
    const refuse = async (error, change, count = lane.threshold) => {
      const epoch = await lane.next({ ...good, ...change });
      await run.refuse(error, relayer, net.anchor, "post", lane.posting(epoch, count));
      return epoch;
    };
    const wrong = await refuse("WrongEpoch", { fields: { epoch: 2n } });
    await refuse("WrongParent", { parent: wrong });
    await refuse("UnknownLane", { fields: { lane: 9 } });
    await refuse("StaleBlock", { fields: { chainBlock: run.now.number + 9 } });
    await refuse("StaleBlock", { fields: { chainBlock: run.now.number - 300 } });
    await refuse("StaleBlock", { blockHashes: await run.each(() => id("no block")) });
    await refuse("WrongTerm", { fields: { term: 7n } });
    await refuse("WrongSettledHash", { fields: { settledHash: id("others") } });
    await refuse("NotConserved", { moved: good.moved + 1n });
    await refuse("EmptyTree", { fields: { payoutCount: 0 } });
    await refuse("NotFunded", { settled: [[task(99), this.client.address]] });
    await refuse("WrongLane", { settled: [[task(2), this.client.address]] });
    await refuse("QuorumTooSmall", {}, 1);
    const epoch = await lane.next(good);
    const post = (error, bits, signers) =>
      run.refuse(error, relayer, net.anchor, "post", (chain) => [
        ...[epoch.header(chain), epoch.settled, bits, epoch.signatures(chain, signers)],
      ]);
    const [a, b, c] = lane.members;
    await post("UnknownSigner", 0b1011n, [a, b, c]);
    await post("BadSignature", 0b011n, [b, a]);
    await post("BadSignature", 0b111n, [a, b]);
    await post("BadSignatureLength", 0b011n, [a, b, c]);
    const silent = this.lanes[2];
    const early = await silent.next({ pay: [], fields: { term: 0n } });
    await run.refuse("NoCommittee", relayer, net.anchor, "post", silent.posting(early, 0));
  }

  async firstEpochs() {
    const { run, net, client, other, relayer } = this;
    const [lane] = this.lanes;
    this.split = new ShareTree([...this.owed(4n, 3n, 2n), [client.address, UNIT]]);
    const first = {
      pay: [...this.owed(400n, 300n, 200n), [client.address, 160n * UNIT]],
      moved: 1_060n * UNIT,
      settled: [[task(1), client.address]],
      losses: this.losses([3, 3n], [4, 2n]),
      bonuses: [{ task: task(1), client: client.address, scored: true, shares: this.split.shares }],
      reputations: this.owed(1n, 2n, 3n).map(([who, n]) => [who, id("images"), n, 2n * n]),
    };
    await this.refusedPosts(lane, first);
    const one = await lane.next(first);
    // Comes after the block the epoch was computed at.
    await run.send(other, net.escrow, "topUp", [task(1), client.address, 30n * UNIT]);
    await lane.post(relayer, one);
    await run.send(relayer, net.escrow, "returnLateTopUp", [task(1), client.address]);
    await run.refuse("NothingLate", relayer, net.escrow, "returnLateTopUp", [task(1), client.address]);
    await run.refuse("AlreadySettled", other, net.escrow, "topUp", [task(1), client.address, 1]);
    await run.refuse("AlreadySettled", client, net.bonus, "lock", [task(1), this.partner.address, 1]);
    await run.refuse("NotFinal", relayer, net.bonus, "recordSplit", this.recording(1, one, [one]));

    const claim = (epoch, i) => {
      const { payee, total, index, proof } = epoch.leaf(i);
      return [epoch.fields.epoch, payee, total, index, proof];
    };
    const d = lane.distributor;
    await run.refuse("NotActive", relayer, d, "claim", claim(one, 0));
    await run.pass(DAY);
    await run.send(relayer, d, "claim", claim(one, 0));
    await run.refuse("NothingDue", relayer, d, "claim", claim(one, 0));
    await run.refuse("BadProof", relayer, d, "claim", claim(one, 1).with(2, 1n));
    await run.refuse("BadProof", relayer, d, "claim", claim(one, 1).with(4, []));
    await run.refuse("UnknownRoot", relayer, d, "claim", claim(one, 1).with(0, 2n));
    await run.refuse("BadProof", relayer, d, "claimMany", [1, [{ ...one.leaf(1), total: 7n }]]);
    await run.send(relayer, d, "claimMany", [1, [one.leaf(0), one.leaf(1), one.leaf(2)]]);
    await run.send(relayer, d, "claimMany", [1, [one.leaf(0)]]);
    await run.refuse("OnlyAnchor", relayer, d, "activate", [2, id("tree"), 1, 0, 0]);
    await run.refuse("OnlyAnchor", relayer, d, "revoke", [1, 1]);

    const pay = [...this.owed(500n, 400n, 300n, 100n), [client.address, 260n * UNIT]];
    const next = { pay, moved: 500n * UNIT, settled: [[task(3), client.address]], losses: first.losses };
    const two = await lane.post(relayer, await lane.next(next));
    await run.pass(DAY);
    const packed = (from, count) =>
      concat(
        Array.from({ length: count }, (_, i) => two.trees.payouts[from + i])
          .map((leaf) => (leaf ? concat([leaf[0], toBeHex(leaf[1], 16)]) : toBeHex(0, 36))),
      );
    const proof = (from, height) => two.trees.payout.proof(from, height);
    await run.refuse("BadSubtree", relayer, d, "claimSubtree", [2, 0, `${packed(0, 4)}00`, proof(0, 2)]);
    await run.refuse("BadSubtree", relayer, d, "claimSubtree", [2, 1, packed(0, 4), proof(0, 2)]);
    await run.refuse("BadProof", relayer, d, "claimSubtree", [2, 0, packed(0, 4), [id("sibling")]]);
    await run.send(relayer, d, "claimSubtree", [2, 0, packed(0, 4), proof(0, 2)]);
    await run.send(relayer, d, "claimSubtree", [2, 4, packed(4, 4), proof(4, 2)]);
    await run.send(relayer, d, "claimSubtree", [2, 0, packed(0, 8), []]);
    for (const epoch of [1, 2, 3]) await run.view(d, "roots", [epoch]);
  }

  // ---- disputes --------------------------------------------------------------------------------------------------------

  /** A faulty epoch is posted, shown and taken back; one signer pays, and a new committee is drawn. */
  async fault(method, what, args, before = async () => {}) {
    const { run, net, relayer, reporter } = this;
    const [lane] = this.lanes;
    const epoch = await lane.post(relayer, await lane.next(what));
    const evidence = lane.evidence(epoch, lane.signers(1), reporter);
    const given = (chain) => [evidence(chain), ...args(epoch, chain)];
    await before(epoch, evidence, given);
    await run.send(reporter, net.disputes, method, given);
    lane.rewound(epoch);
    await lane.draw(relayer);
    return epoch;
  }

  async disorder() {
    const { run, net, relayer, reporter } = this;
    const [lane] = this.lanes;
    const backwards = [...lane.head.trees.payouts].reverse();
    const [one, two] = lane.posted;
    const disputes = (error, method, args) => run.refuse(error, reporter, net.disputes, method, args);
    let guilty;
    const epoch = await this.fault(
      "proveDisorder",
      { payouts: backwards },
      (e) => [e.leaf(0), e.leaf(1)],
      async (e, evidence, given) => {
        guilty = lane.signers();
        const changed = (change) => (chain) => [{ ...evidence(chain), ...change(chain) }, e.leaf(0), e.leaf(1)];
        await disputes("NoFault", "proveDisorder", (chain) => [evidence(chain), e.leaf(1), e.leaf(0)]);
        await disputes("BadLeaf", "proveDisorder", (chain) => [evidence(chain), { ...e.leaf(0), total: 1n }, e.leaf(1)]);
        await disputes("BrokenChain", "proveDisorder", changed(() => ({ chain: [] })));
        await disputes("BrokenChain", "proveDisorder", changed((chain) => ({ chain: [e.header(chain), two.header(chain)] })));
        await disputes("NotTheHead", "proveDisorder", changed((chain) => ({ chain: [one.header(chain)] })));
        await disputes("ZeroReporter", "proveDisorder", changed(() => ({ reporter: ZeroAddress })));
        await disputes("BadSignatureLength", "proveDisorder", changed(() => ({ signatures: "0x00" })));
        await disputes("BadSignature", "proveDisorder", changed(() => ({ signatures: toBeHex(0, 64) })));
        const stranger = (chain) => ({ signatures: e.signatures(chain, [relayer]) });
        await disputes("NotRegistered", "proveDisorder", changed(stranger));
        await disputes("NotFaulty", "punish", (chain) => [e.hash(chain), "0x", reporter.address]);
        await run.refuse("OnlyDisputes", relayer, net.anchor, "rewind", (chain) => [0, 3, e.header(chain).parent]);
        // The accused epoch has a child, which goes back with it.
        await lane.post(relayer, await lane.next({ pay: lane.posted[1].trees.payouts }));
        const alone = (chain) => given(chain).with(0, { ...evidence(chain), chain: [e.header(chain)] });
        await disputes("NotTheHead", "proveDisorder", alone);
      },
    );
    const signatures = (chain) => epoch.signatures(chain, guilty);
    await run.send(reporter, net.disputes, "punish", (chain) => [epoch.hash(chain), signatures(chain), relayer.address]);
    this.banned = guilty;
    const again = this.registration(guilty[0], VALIDATOR, TERMS.minStake);
    await run.refuse("AccountBanned", guilty[0], net.registry, "register", again);
  }

  async otherFaults() {
    const { run, net, client, reporter, labelers } = this;
    const [lane] = this.lanes;
    const two = lane.head;
    const pay = two.trees.payouts;
    const shifted = (from, to) =>
      pay.map(([who, total]) => [who, who === from ? total - UNIT : who === to ? total + UNIT : total]);
    const refuse = (error, method, args) => run.refuse(error, reporter, net.disputes, method, args);
    const leafOf = (epoch, who) => epoch.leaf(epoch.place(who));

    const poorer = labelers[0].address;
    await this.fault(
      "proveShrunk",
      { pay: shifted(poorer, client.address) },
      (e, chain) => [two.header(chain), leafOf(two, poorer), leafOf(e, poorer)],
      async (e, evidence) => {
        const one = lane.posted[0];
        await refuse("NotTheParent", "proveShrunk", (c) => [evidence(c), one.header(c), leafOf(two, poorer), leafOf(e, poorer)]);
        const rich = client.address;
        await refuse("NoFault", "proveShrunk", (c) => [evidence(c), two.header(c), leafOf(two, rich), leafOf(e, rich)]);
      },
    );

    const missing = labelers[3].address;
    const rest = pay
      .filter(([who]) => who !== missing)
      .map(([who, total]) => [who, who === client.address ? total + 100n * UNIT : total]);
    const around = (e) => {
      const after = e.trees.payouts.findIndex(([who]) => byAddress(who, missing) > 0);
      if (after === 0) return [e.leaf(0)];
      return after < 0 ? [e.leaf(rest.length - 1)] : [e.leaf(after - 1), e.leaf(after)];
    };
    await this.fault(
      "proveOmitted",
      { pay: rest },
      (e, chain) => [two.header(chain), leafOf(two, missing), around(e)],
      async (e, evidence) => {
        await refuse("BadNeighbours", "proveOmitted", (c) => [evidence(c), two.header(c), leafOf(two, missing), []]);
        const present = leafOf(two, client.address);
        await refuse("NoFault", "proveOmitted", (c) => [evidence(c), two.header(c), present, [leafOf(e, client.address)]]);
      },
    );

    const rows = two.trees.payout.rows[0].slice(0, pay.length);
    await this.fault(
      "provePlace",
      { payoutLeaves: rows.with(2, ZeroHash) },
      (e) => [false, ZeroHash, 2, e.trees.payout.proof(2)],
      (e, evidence) => refuse("NoFault", "provePlace", (c) => [evidence(c), false, rows[1], 1, e.trees.payout.proof(1)]),
    );
    await this.fault("proveNoAudit", { fields: { auditRoot: ZeroHash } }, () => []);
    await this.fault(
      "proveMismatch",
      { payoutLeaves: rows.with(1, id("something else")) },
      (e) => [e.audit(1), id("something else"), e.trees.payout.proof(1)],
      (e, evidence) => refuse("NoFault", "proveMismatch", (c) => [evidence(c), e.audit(0), rows[0], e.trees.payout.proof(0)]),
    );
    const [last, audits] = [pay.length - 1, two.trees.audits];
    const off = ([who, total, before]) => [who, total, before + 1n];
    await this.fault(
      "proveEdge",
      { audits: audits.with(last, off(audits[last])) },
      (e) => [e.audit(last)],
      (e, evidence) => refuse("NoFault", "proveEdge", (c) => [evidence(c), e.audit(0)]),
    );
    // This one had taken a task's money, which the next header must owe.
    const richer = pay.map(([who, total]) => [who, who === client.address ? total + 240n * UNIT : total]);
    let sum = 0n;
    const good = richer.map(([who, total]) => [who, total, (sum += total) - total]);
    await this.fault(
      "proveSum",
      { pay: richer, audits: good.with(2, off(good[2])), moved: 240n * UNIT, settled: [[task(4), client.address]] },
      (e) => [e.audit(1), e.audit(2)],
      (e, evidence) => refuse("NoFault", "proveSum", (c) => [evidence(c), e.audit(0), e.audit(1)]),
    );
    this.pay = richer;
  }

  /** Just enough validators for a majority of the weight, ascending by account: without the last one they have none. */
  async majority() {
    const [accounts, weights] = await this.run.view(this.net.registry, "validators");
    const all = sorted(accounts.map((address, i) => [address, weights[i]]));
    const total = weights.reduce((sum, weight) => sum + weight, 0n);
    let given = 0n;
    const enough = all.findIndex(([, weight]) => 2n * (given += weight) > total);
    return all.slice(0, enough + 1).map(([address]) => this.net.wallets.get(address));
  }

  /** Scores show in no leaf, so nothing proves that they are wrong; most of the registry says so. */
  async overruled() {
    const { run, net, client, reporter, labelers } = this;
    const [lane] = this.lanes;
    const shifted = this.pay.map(([who, total]) => {
      const more = { [labelers[0].address]: UNIT, [client.address]: -UNIT }[who] ?? 0n;
      return [who, total + more];
    });
    const most = await this.majority();
    await this.fault(
      "overrule",
      { pay: shifted },
      (e, chain) => [e.votes(chain, most)],
      async (e, evidence) => {
        const refuse = (error, votes) => run.refuse(error, reporter, net.disputes, "overrule", (c) => [evidence(c), votes(c)]);
        await refuse("NoMajority", (c) => e.votes(c, most.slice(0, -1)));
        await refuse("VotersNotAscending", (c) => e.votes(c, [...most].reverse()));
        await refuse("BadSignatureLength", () => "0x00");
      },
    );
  }

  /** In a lane without delay a root is active at once: signers pay, nothing is taken back. */
  async lateFault() {
    const { run, net, client, relayer, reporter } = this;
    const lane = this.lanes[1];
    const what = { pay: [...this.owed(250n, 250n), [client.address, 100n * UNIT]], moved: 600n * UNIT };
    const settled = [[task(2), client.address]];
    const losses = this.losses([0, 1n], [3, 5n]);
    const epoch = await lane.next({ ...what, settled, losses, fields: { auditRoot: ZeroHash } });
    await lane.post(relayer, epoch, TERMS.committee);
    const { payee, total, index, proof } = epoch.leaf(0);
    await run.send(relayer, lane.distributor, "claim", [1, payee, total, index, proof]);
    const evidence = lane.evidence(epoch, lane.signers(1), reporter);
    const most = await this.majority();
    await run.refuse("TooLate", reporter, net.disputes, "overrule", (c) => [evidence(c), epoch.votes(c, most)]);
    await run.send(reporter, net.disputes, "proveNoAudit", (chain) => [evidence(chain)]);

    const [a, b] = [await lane.next({ losses }), await lane.next({ losses })];
    const [, one, two] = lane.members;
    const prove = (x, y, first, second) => (chain) => [
      ...[x.header(chain), y.header(chain), x.signatures(chain, first), y.signatures(chain, second), reporter.address],
    ];
    const refuse = (error, args) => run.refuse(error, reporter, net.disputes, "proveEquivocation", args);
    await refuse("NotTwoHeaders", prove(a, a, [one], [one]));
    await refuse("DifferentSigners", prove(a, b, [one], [two]));
    await refuse("BadSignatureLength", prove(a, b, [one], [one, two]));
    await refuse("ZeroReporter", (chain) => prove(a, b, [one], [one])(chain).with(4, ZeroAddress));
    await lane.post(relayer, a);
    await run.send(reporter, net.disputes, "proveEquivocation", prove(a, b, [one], [one]));
    await run.send(reporter, net.disputes, "proveEquivocation", prove(a, b, [one], [one]));
  }

  // ---- many epochs -----------------------------------------------------------------------------------------------------

  async backlog() {
    const { run, net, relayer } = this;
    const [lane] = this.lanes;
    const losses = this.losses([3, 3n], [4, 2n], [1, 1n]);
    const reputations = sorted(this.owed(1n, 2n, 3n)).map(([who, n]) => [who, id("images"), n, 2n * n]);
    const next = () => lane.next({ pay: this.pay, losses, reputations });
    while (lane.posted.length < 17) await lane.post(relayer, await next());
    await run.refuse("ActivationBacklog", relayer, net.anchor, "post", lane.posting(await next()));
    await run.pass(DAY);
    const head = await lane.post(relayer, await next());
    await run.refuse("UnknownRoot", relayer, lane.distributor, "claimMany", [2, []]);
    const last = lane.posted.at(-2);
    await run.send(relayer, lane.distributor, "claimMany", [17, last.trees.payouts.map((_, i) => last.leaf(i))]);

    for (const [i, entry] of reputations.entries()) {
      const proof = head.trees.reputation.proof(i);
      const proven = await run.view(net.reputation, "prove", (chain) => [head.header(chain), ...entry, i, proof]);
      const forged = await run.view(net.reputation, "prove", (c) => [head.header(c), ...entry.with(2, 9n), i, proof]);
      const old = await run.view(net.reputation, "prove", (c) => [last.header(c), ...entry, i, proof]);
      if (!proven || forged || old) throw new Error(`reputation ${i}: ${proven} ${forged} ${old}`);
    }
  }

  // ---- bonus -----------------------------------------------------------------------------------------------------------

  /** Arguments of `recordSplit` for a task whose leaf stands in `epoch`. */
  recording(n, epoch, headers, change = {}) {
    const index = epoch.trees.flats.length;
    const { scored, shares } = epoch.trees.bonuses[0];
    const split = { state: epoch.trees.state, scored, shares, index, proof: epoch.trees.flat.proof(index), ...change };
    return (chain) => [task(n), this.client.address, headers.map((e) => e.header(chain)), split];
  }

  async bonuses() {
    const { run, net, client, relayer } = this;
    const [lane, another] = this.lanes;
    const [one, two] = lane.posted;
    const refuse = (error, n, headers, change) =>
      run.refuse(error, relayer, net.bonus, "recordSplit", this.recording(n, one, headers, change));
    const of = [task(1), client.address];
    const claim = (i, token = this.partner.address) => [...of, token, this.split.claim(i)];
    await refuse("NothingLocked", 99, lane.posted);
    await refuse("EmptySplit", 1, lane.posted, { shares: { ...this.split.shares, count: 0 } });
    await refuse("NotCanonical", 1, []);
    await refuse("NotCanonical", 1, [one]);
    await refuse("NotCanonical", 1, [one, lane.head]);
    await refuse("NotCanonical", 1, [one, two], { scored: false });
    await refuse("WrongLane", 1, another.posted);
    await refuse("NotSettled", 5, lane.posted);
    await refuse("BadSplit", 1, lane.posted.slice(1));
    await refuse("BadSplit", 1, lane.posted, { index: 2 });
    await run.refuse("NoSplit", relayer, net.bonus, "claim", claim(0));
    await run.send(relayer, net.bonus, "recordSplit", this.recording(1, one, lane.posted));
    await refuse("AlreadySplit", 1, lane.posted);
    await run.refuse("AlreadySplit", client, net.bonus, "refund", [...of, this.partner.address]);
    await run.refuse("AlreadySplit", client, net.bonus, "requestRefund", of);
    await run.view(net.bonus, "due", [...of, this.partner.address, 4n * UNIT, 0]);
    await run.send(relayer, net.bonus, "claim", claim(0));
    await run.refuse("NothingDue", relayer, net.bonus, "claim", claim(0));
    await run.refuse("BadProof", relayer, net.bonus, "claim", claim(1).with(3, { ...this.split.claim(1), weight: 9n }));
    const all = [0, 1, 2, 3].map((i) => this.split.claim(i));
    await run.send(relayer, net.bonus, "claimMany", [...of, this.partner.address, all]);
    for (const i of [1, 2]) await run.send(relayer, net.bonus, "claim", claim(i, ZeroAddress));
    await run.view(net.bonus, "ledger", [...of, ZeroAddress]);
    await run.view(net.bonus, "bonusOf", of);
    // Task 3 was settled without a leaf.
    await run.refuse("NothingLocked", relayer, net.bonus, "requestRefund", [task(99), client.address]);
    await run.refuse("NotSettled", relayer, net.bonus, "requestRefund", [task(5), client.address]);
    await run.send(relayer, net.bonus, "requestRefund", [task(3), client.address]);
    await run.refuse("AlreadyRequested", relayer, net.bonus, "requestRefund", [task(3), client.address]);
    await run.refuse("TooEarly", relayer, net.bonus, "refund", [task(3), client.address, this.partner.address]);
  }

  async refund() {
    const { run, net, client, relayer } = this;
    const of = [task(3), client.address, this.partner.address];
    await run.pass(365 * DAY);
    await run.send(relayer, net.bonus, "refund", of);
    await run.refuse("NothingLeft", relayer, net.bonus, "refund", of);
  }

  // ---- leaving ---------------------------------------------------------------------------------------------------------

  /** How `withdraw` is shown what `who` lost in a lane: its leaf, or the place where it would stand. */
  loss(epoch, who) {
    const { losses, loss } = epoch.trees;
    const leaf = (i) => {
      const [account, lossTotal] = losses[i] ?? [ZeroAddress, 0n];
      return { account, lossTotal, index: i, proof: loss.proof(i) };
    };
    const own = losses.findIndex(([address]) => address === who);
    if (own >= 0) return [leaf(own)];
    const after = losses.findIndex(([address]) => byAddress(address, who) > 0);
    if (after === 0) return [leaf(0)];
    if (after > 0) return [leaf(after - 1), leaf(after)];
    return losses.length < loss.rows[0].length ? [leaf(losses.length - 1), leaf(losses.length)] : [leaf(losses.length - 1)];
  }

  async leaving() {
    const { run, net, validators, labelers, relayer } = this;
    const [lane, another] = this.lanes;
    const leavers = [labelers[4], labelers[5], labelers[0]];
    for (const who of leavers) await run.send(who, net.registry, "requestUnbond");
    const [first] = leavers;
    await run.refuse("Unbonding", first, net.registry, "addStake", [1]);
    await run.refuse("Unbonding", first, net.registry, "requestUnbond");
    await run.refuse("NotReady", first, net.registry, "withdraw", [[], []]);
    const serving = this.lanes[0].members[0];
    await run.send(serving, net.registry, "requestUnbond");
    await run.pass(TERMS.unbond);
    await run.refuse("StillServing", serving, net.registry, "withdraw", [[], []]);
    const heads = (chain) => [lane.head.header(chain), another.head.header(chain), noHeader(2)];
    const shown = (who) => [this.loss(lane.head, who.address), this.loss(another.head, who.address), []];
    const withdraw = (who, change = (args) => args) => (chain) => change([heads(chain), shown(who)], chain);
    const refuse = (error, change) => run.refuse(error, first, net.registry, "withdraw", withdraw(first, change));
    await refuse("LaneCountMismatch", ([given]) => [given.slice(1), []]);
    await refuse("LaneCountMismatch", ([given]) => [given, []]);
    await refuse("NotTheHead", ([given, leaves], chain) => [given.with(0, lane.posted[3].header(chain)), leaves]);
    await refuse("NotTheHead", ([given, leaves]) => [given.with(2, noHeader(1)), leaves]);
    await refuse("BadLossProof", ([given, leaves]) => [given, leaves.with(0, [])]);
    await refuse("BadLossProof", ([given, leaves]) => [given, leaves.with(0, [{ ...leaves[0][0], lossTotal: 0n }])]);
    for (const who of leavers) await run.send(who, net.registry, "withdraw", withdraw(who));
    await run.refuse("NotRegistered", first, net.registry, "withdraw", withdraw(first));
    // Who was banned leaves with what is left, and its node key stays taken.
    await run.send(this.banned[0], net.registry, "withdraw", [[], []]);
    const taken = this.registration(relayer, VALIDATOR, TERMS.minStake, { 0: this.registration(this.banned[0])[0] });
    await run.refuse("NodeKeyTaken", relayer, net.registry, "register", taken);
    await run.view(net.registry, "banned", [this.banned[0].address]);
    for (const who of validators) await run.view(net.registry, "accounts", [who.address]);
  }

  // ---- fallback --------------------------------------------------------------------------------------------------------

  async silence() {
    const { run, net, client, relayer, labelers } = this;
    const lane = this.lanes[2];
    await lane.draw(relayer);
    await this.fund(6, 2, 100n, 5n);
    await this.fund(7, 2, 30n, 0n);
    for (const n of [6, 7]) await run.send(client, net.bonus, "lock", [task(n), this.partner.address, 90n * UNIT]);
    await run.mine(2);
    const flats = this.owed(40n, 80n, 10n).map(([who, amount]) => [task(6), client.address, who, amount]);
    const shares = new ShareTree(this.owed(40n, 80n, 10n));
    const bonuses = [{ task: task(6), client: client.address, scored: false, shares: shares.shares }];
    const head = await lane.post(relayer, await lane.next({ pay: [], flats, bonuses }));
    const of = (n) => [task(n), client.address];
    await run.refuse("LaneActive", relayer, net.escrow, "openFallback", of(6));
    await run.refuse("NotInFallback", relayer, net.escrow, "closeFallback", of(6));
    await run.pass(TERMS.fallback);
    for (const n of [6, 7]) await run.send(relayer, net.escrow, "openFallback", of(n));
    await run.refuse("InFallback", relayer, net.escrow, "openFallback", of(6));
    await run.refuse("InFallback", client, net.escrow, "topUp", [...of(6), 1]);
    const waking = await lane.next({ pay: this.owed(105n), moved: 105n * UNIT, settled: [of(6)] });
    await run.refuse("InFallback", relayer, net.anchor, "post", lane.posting(waking));
    const claim = (i, change = {}) => {
      const [, , payee, amount] = flats[i];
      return { payee, amount, stateHash: head.trees.state, index: i, proof: head.trees.flat.proof(i), ...change };
    };
    const claiming = (i, change, epoch = head) => (chain) => [...of(6), epoch.header(chain), claim(i, change)];
    const refuse = (error, args) => run.refuse(error, relayer, net.escrow, "claimFallback", args);
    await refuse("WrongHeader", claiming(0, {}, this.lanes[0].head));
    await refuse("BadFlatProof", claiming(0, { amount: 1n }));
    await run.send(relayer, net.escrow, "claimFallback", claiming(0));
    await refuse("AlreadyPaid", claiming(0));
    await run.send(relayer, net.escrow, "claimFallback", claiming(1));
    // The deposit is used up.
    await refuse("ZeroAmount", claiming(2));
    await run.refuse("FallbackRunning", relayer, net.escrow, "closeFallback", of(6));
    await run.view(net.escrow, "fallbacks", of(6));

    await run.send(relayer, net.bonus, "recordSplit", this.recording(6, head, [head]));
    await run.send(relayer, net.bonus, "claimMany", [...of(6), this.partner.address, [0, 1, 2].map((i) => shares.claim(i))]);
    await run.refuse("TooEarly", relayer, net.bonus, "refund", [...of(7), this.partner.address]);
    await run.pass(TERMS.fallback);
    for (const n of [6, 7]) await run.send(relayer, net.escrow, "closeFallback", of(n));
    await run.refuse("NotInFallback", relayer, net.escrow, "closeFallback", of(7));
    await run.send(relayer, net.bonus, "refund", [...of(7), this.partner.address]);
    await run.view(net.token, "balanceOf", [labelers[1].address]);
  }

  // ---- data sets -------------------------------------------------------------------------------------------------------

  async datasets() {
    const { run, net, client, other, relayer, buyer } = this;
    const { datasets, splitter } = net;
    const tree = new ShareTree(this.owed(5n, 3n, 1n));
    const version = (n, change = {}) => ({ content: id(`content ${n}`), licence: LICENCE, shares: tree.shares, ...change });
    await run.refuse("IncompleteVersion", client, datasets, "publish", [task(1), 500, version(1, { content: ZeroHash })]);
    await run.refuse("ERC2981InvalidTokenRoyalty", client, datasets, "publish", [task(1), 10_001, version(1)]);
    await run.send(client, datasets, "publish", [task(1), 500, version(1)]);
    const dataset = await run.view(datasets, "datasetId", [task(1), client.address]);
    await run.refuse("AlreadyPublished", client, datasets, "publish", [task(1), 500, version(1)]);
    await run.refuse("OnlyHolder", other, datasets, "addVersion", [dataset, version(2)]);
    await run.refuse("ERC721NonexistentToken", other, datasets, "addVersion", [7, version(2)]);
    await run.send(client, datasets, "transferFrom", [client.address, other.address, dataset]);
    await run.send(other, datasets, "addVersion", [dataset, version(2)]);
    await run.view(datasets, "versionOf", [dataset, 3], "UnknownVersion");
    await run.view(datasets, "royaltyInfo", [dataset, 1_000]);
    await run.refuse("OnlyShares", relayer, splitter, "open", [dataset, 3]);

    const token = this.partner.address;
    await run.send(buyer, this.partner, "approve", [splitter.address, 1_000n * UNIT]);
    await run.refuse("UnknownVersion", buyer, splitter, "pay", [dataset, 3, token, 1]);
    await run.refuse("ZeroAmount", buyer, splitter, "pay", [dataset, 1, token, 0]);
    await run.send(buyer, splitter, "pay", [dataset, 1, token, 100n * UNIT + 1n]);
    const till = await run.view(splitter, "till", [dataset, 1]);
    run.label(till, "Till of version 1");
    await run.send(buyer, this.partner, "transfer", [till, 7n * UNIT]);
    await run.send(relayer, splitter, "collect", [dataset, 1, token]);
    await run.view(splitter, "due", [dataset, 1, token, 5n * UNIT, 0]);
    const claim = (i, coin = token, change = {}) => [dataset, 1, coin, { ...tree.claim(i), ...change }];
    await run.send(relayer, splitter, "claim", claim(0));
    await run.refuse("NothingDue", relayer, splitter, "claim", claim(0));
    await run.refuse("BadProof", relayer, splitter, "claim", claim(1, token, { index: 2 }));
    await run.refuse("BadProof", relayer, splitter, "claim", claim(1, token, { weight: 4n * UNIT }));
    await run.send(relayer, splitter, "claimMany", [dataset, 1, token, [0, 1, 2].map((i) => tree.claim(i))]);
    await run.pay(buyer, till, COIN);
    await run.send(relayer, splitter, "claim", claim(1, ZeroAddress));
    await run.view(splitter, "ledger", [dataset, 1, token]);
    await run.view(splitter, "claimed", [dataset, 1, token, 2]);
  }

  // ---- the chain's randomness ------------------------------------------------------------------------------------------

  async randomNumbers() {
    const { run, relayer } = this;
    const { number } = run.now;
    await run.view(this.randomness, "refAfter", [number]);
    await run.refuse("BlockOutOfWindow", relayer, this.randomness, "record", [number + 50, "0x"]);
    await run.refuse("BlockOutOfWindow", relayer, this.randomness, "record", [number - 300, "0x"]);
    await run.refuse("WrongHeader", relayer, this.randomness, "record", [number - 1, "0x00"]);
    const headers = await run.each((chain) => chain.headerOf(number));
    const value = (chain) => decodeRlp(headers.get(chain))[MIX_HASH];
    run.name("randomness", value);
    await run.mine(1);
    // Headers differ in the length of their numbers, and the contract reads them field by field.
    const recording = (chain) => [number, headers.get(chain)];
    await run.withOwnWork(() => run.send(relayer, this.randomness, "record", recording));
    await run.refuse("AlreadyRecorded", relayer, this.randomness, "record", [number, "0x"]);
    await run.view(this.randomness, "valueAt", [number]);
  }

  /** Who has what in the end. */
  async balances() {
    const { run, net } = this;
    const contracts = [net.registry, net.escrow, ...net.distributors, net.splitter, net.bonus];
    for (const token of [net.token, this.partner]) {
      await run.view(token, "totalSupply");
      for (const { address } of [...this.everybody, ...contracts]) await run.view(token, "balanceOf", [address]);
    }
  }
}

/** Plays the whole story on the chains of `run`. */
export async function play(run) {
  const story = new Story(run);
  await story.setUp();
  await story.deployment();
  await story.badDeployments();
  await story.registering();
  await story.funding();
  await story.firstEpochs();
  await story.register(story.validators.slice(7), VALIDATOR, TERMS.minStake);
  await story.lanes[0].draw(story.relayer);
  await story.disorder();
  await story.otherFaults();
  await story.overruled();
  await story.lateFault();
  await story.backlog();
  await story.bonuses();
  await story.leaving();
  await story.silence();
  await story.datasets();
  await story.randomNumbers();
  await story.refund();
  await story.balances();
}
