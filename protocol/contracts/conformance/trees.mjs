// The trees that headers and data sets name, built from the written definitions in ../README.md.
import { concat, keccak256, toBeHex, ZeroHash } from "ethers";

const u8 = (n) => toBeHex(n, 1);
const u32 = (n) => toBeHex(n, 4);
const u64 = (n) => toBeHex(n, 8);
const u128 = (n) => toBeHex(n, 16);
const hash = (...parts) => keccak256(concat(parts));

export const payoutLeaf = (payee, total) => hash(u8(0x00), payee, u128(total));
export const lossLeaf = (account, lossTotal) => hash(u8(0x02), account, u128(lossTotal));
export const reputationLeaf = (account, domain, alpha, beta) => hash(u8(0x04), account, domain, u64(alpha), u64(beta));
export const auditLeaf = (payee, total, before) => hash(u8(0x05), payee, u128(total), u128(before));
export const flatLeaf = (task, client, payee, amount) => hash(u8(0x06), task, client, payee, u128(amount));
export const stateRoot = (state, flatRoot) => hash(u8(0x07), state, flatRoot);
export const bonusLeaf = (task, client, scored, shares) =>
  hash(u8(0x0a), task, client, u8(scored ? 1 : 0), shares.root, u128(shares.totalWeight), u32(shares.count));

/** Ascending by address. */
export const byAddress = (a, b) => (BigInt(a) < BigInt(b) ? -1 : BigInt(a) > BigInt(b) ? 1 : 0);

/** Leaves in given places, padded on the right with the zero word. */
export class Tree {
  constructor(leaves) {
    let row = [...leaves];
    while (row.length === 0 || (row.length & (row.length - 1)) !== 0) row.push(ZeroHash);
    this.rows = [row];
    while (row.length > 1) {
      row = row.flatMap((left, i) => (i % 2 === 0 ? [hash(u8(0x01), left, row[i + 1])] : []));
      this.rows.push(row);
    }
    this.root = row[0];
  }

  /** Siblings from the bottom; `height` levels are left out, for a proof of a whole subtree. */
  proof(index, height = 0) {
    return this.rows.slice(height, -1).map((row, i) => row[(index >> (height + i)) ^ 1]);
  }
}

/** Shares by weight: every inner node also names the sums under it. */
export class ShareTree {
  constructor(entries) {
    this.entries = entries;
    let row = entries.map(([payee, weight]) => ({ hash: hash(u8(0x0b), payee, u128(weight)), sum: weight }));
    while ((row.length & (row.length - 1)) !== 0) row.push({ hash: ZeroHash, sum: 0n });
    this.rows = [row];
    while (row.length > 1) {
      row = row.flatMap((left, i) => {
        if (i % 2 !== 0) return [];
        const right = row[i + 1];
        return [{ hash: hash(u8(0x0c), left.hash, u128(left.sum), right.hash, u128(right.sum)), sum: left.sum + right.sum }];
      });
      this.rows.push(row);
    }
    this.shares = { root: row[0].hash, totalWeight: row[0].sum, count: entries.length };
  }

  /** The leaf at `index` with its proof, as the contracts take it. */
  claim(index) {
    const [payee, weight] = this.entries[index];
    return { payee, weight, index, proof: this.rows.slice(0, -1).map((row, i) => row[(index >> i) ^ 1]) };
  }
}
