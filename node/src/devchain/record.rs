//! What the journal remembers, and its bytes.
//!
//! A journal is a header followed by changes. Every change starts with a [`Mark`]: the head it was
//! made on. Empty blocks are not written one by one: a `Run` announces up to 256 of them on a fixed
//! schedule *before* the first is shown, and the next mark tells how many there were. So after a
//! crash the same empty blocks come back with the same hashes.
//!
//! ```text
//! header  := 0x00 magic[8] version:u16 chain_id:u64 gas_limit:u64 base_fee:u64 timestamp:u64 n:u32 (address[20] wei[32])*n
//! mark    := number:u64 hash[32]
//! block   := 0x01 mark timestamp:u64 prevrandao[32] hash[32] signer[20] raw transaction (to the end)
//! run     := 0x02 mark seed[32] anchor_ms:u64 interval_ms:u64 max:u32
//! balance := 0x03 mark address[20] wei[32]
//! clock   := 0x04 mark offset_seconds:u64
//! rewind  := 0x05 mark number:u64 undo_len:u64 offset_seconds:u64
//! seal    := 0x06 mark
//! ```
//! Integers are big endian. What it does not do: no files, no execution.

use alloy::primitives::{Address, B256, U256};

/// First bytes of a journal's first record.
const MAGIC: &[u8; 8] = b"ASSAYDEV";
/// Journal format written by this program.
pub(super) const FORMAT_VERSION: u16 = 1;
/// Most accounts with a balance at the start.
pub(super) const GENESIS_ACCOUNTS_MAX: usize = 10_000;

/// The first record: what the chain starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Genesis {
    pub chain_id: u64,
    pub gas_limit: u64,
    /// Wei per gas.
    pub base_fee: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    pub balances: Vec<(Address, U256)>,
}

/// The head a change was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub number: u64,
    pub hash: B256,
}

/// One change of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A block with one transaction.
    Block {
        timestamp: u64,
        prevrandao: B256,
        hash: B256,
        signer: Address,
        raw: Vec<u8>,
    },
    /// Up to `max` empty blocks on a schedule.
    Run {
        seed: [u8; 32],
        anchor_ms: u64,
        interval_ms: u64,
        max: u32,
    },
    /// A balance was set between two blocks.
    Balance { address: Address, wei: U256 },
    /// The clock runs ahead of the system's by this much.
    Clock { offset_seconds: u64 },
    /// Blocks above `number` and undo entries from `undo_len` on were taken back.
    Rewind {
        number: u64,
        undo_len: u64,
        offset_seconds: u64,
    },
    /// The run before ended here (written at a clean stop).
    Seal,
}

/// Why bytes are not a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    NotAJournal,
    Newer(u16),
    Detail(&'static str),
}

impl Genesis {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0];
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        for n in [self.chain_id, self.gas_limit, self.base_fee, self.timestamp] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        let count =
            u32::try_from(self.balances.len()).expect("at most GENESIS_ACCOUNTS_MAX balances");
        out.extend_from_slice(&count.to_be_bytes());
        for (address, wei) in &self.balances {
            out.extend_from_slice(address.as_slice());
            out.extend_from_slice(&wei.to_be_bytes::<32>());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        if input.byte() != Ok(0) || input.take(MAGIC.len()) != Ok(&MAGIC[..]) {
            return Err(Malformed::NotAJournal);
        }
        match u16::from_be_bytes(input.array()?) {
            FORMAT_VERSION => {}
            version if version > FORMAT_VERSION => return Err(Malformed::Newer(version)),
            _ => return Err(Malformed::NotAJournal),
        }
        let (chain_id, gas_limit, base_fee, timestamp) =
            (input.u64()?, input.u64()?, input.u64()?, input.u64()?);
        let count = input.u32()? as usize;
        if count > GENESIS_ACCOUNTS_MAX {
            return Err(Malformed::Detail("too many starting balances"));
        }
        let mut balances = Vec::with_capacity(count);
        for _ in 0..count {
            balances.push((input.address()?, input.wei()?));
        }
        input.end()?;
        Ok(Self {
            chain_id,
            gas_limit,
            base_fee,
            timestamp,
            balances,
        })
    }
}

impl Change {
    pub fn encode(&self, at: &Mark) -> Vec<u8> {
        let mut out = vec![self.tag()];
        out.extend_from_slice(&at.number.to_be_bytes());
        out.extend_from_slice(at.hash.as_slice());
        match self {
            Self::Block {
                timestamp,
                prevrandao,
                hash,
                signer,
                raw,
            } => {
                out.extend_from_slice(&timestamp.to_be_bytes());
                out.extend_from_slice(prevrandao.as_slice());
                out.extend_from_slice(hash.as_slice());
                out.extend_from_slice(signer.as_slice());
                out.extend_from_slice(raw);
            }
            Self::Run {
                seed,
                anchor_ms,
                interval_ms,
                max,
            } => {
                out.extend_from_slice(seed);
                out.extend_from_slice(&anchor_ms.to_be_bytes());
                out.extend_from_slice(&interval_ms.to_be_bytes());
                out.extend_from_slice(&max.to_be_bytes());
            }
            Self::Balance { address, wei } => {
                out.extend_from_slice(address.as_slice());
                out.extend_from_slice(&wei.to_be_bytes::<32>());
            }
            Self::Clock { offset_seconds } => out.extend_from_slice(&offset_seconds.to_be_bytes()),
            Self::Rewind {
                number,
                undo_len,
                offset_seconds,
            } => {
                for n in [number, undo_len, offset_seconds] {
                    out.extend_from_slice(&n.to_be_bytes());
                }
            }
            Self::Seal => {}
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<(Mark, Self), Malformed> {
        let mut input = Input(bytes);
        let tag = input.byte()?;
        let at = Mark {
            number: input.u64()?,
            hash: input.hash()?,
        };
        let change = match tag {
            1 => Self::Block {
                timestamp: input.u64()?,
                prevrandao: input.hash()?,
                hash: input.hash()?,
                signer: input.address()?,
                raw: std::mem::take(&mut input.0).to_vec(),
            },
            2 => Self::Run {
                seed: input.array()?,
                anchor_ms: input.u64()?,
                interval_ms: input.u64()?,
                max: input.u32()?,
            },
            3 => Self::Balance {
                address: input.address()?,
                wei: input.wei()?,
            },
            4 => Self::Clock {
                offset_seconds: input.u64()?,
            },
            5 => Self::Rewind {
                number: input.u64()?,
                undo_len: input.u64()?,
                offset_seconds: input.u64()?,
            },
            6 => Self::Seal,
            _ => return Err(Malformed::Detail("unknown kind of record")),
        };
        input.end()?;
        Ok((at, change))
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Block { .. } => 1,
            Self::Run { .. } => 2,
            Self::Balance { .. } => 3,
            Self::Clock { .. } => 4,
            Self::Rewind { .. } => 5,
            Self::Seal => 6,
        }
    }
}

/// Bytes left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self
            .0
            .split_at_checked(n)
            .ok_or(Malformed::Detail("the record is too short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn hash(&mut self) -> Result<B256, Malformed> {
        Ok(B256::new(self.array()?))
    }

    fn address(&mut self) -> Result<Address, Malformed> {
        Ok(Address::new(self.array()?))
    }

    fn wei(&mut self) -> Result<U256, Malformed> {
        Ok(U256::from_be_bytes(self.array::<32>()?))
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Detail("bytes after the record"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (
                any::<u64>(),
                any::<[u8; 32]>(),
                any::<[u8; 32]>(),
                any::<[u8; 20]>(),
                any::<Vec<u8>>()
            )
                .prop_map(|(timestamp, p, h, s, raw)| Change::Block {
                    timestamp,
                    prevrandao: p.into(),
                    hash: h.into(),
                    signer: s.into(),
                    raw
                }),
            (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
                |(seed, anchor_ms, interval_ms, max)| Change::Run {
                    seed,
                    anchor_ms,
                    interval_ms,
                    max
                }
            ),
            (any::<[u8; 20]>(), any::<[u8; 32]>()).prop_map(|(a, w)| Change::Balance {
                address: a.into(),
                wei: U256::from_be_bytes(w)
            }),
            any::<u64>().prop_map(|offset_seconds| Change::Clock { offset_seconds }),
            any::<[u64; 3]>().prop_map(|[number, undo_len, offset_seconds]| Change::Rewind {
                number,
                undo_len,
                offset_seconds
            }),
            Just(Change::Seal),
        ]
    }

    proptest! {
        #[test]
        fn changes_survive_a_round_trip(change in any_change(), number: u64, hash: [u8; 32]) {
            let at = Mark { number, hash: hash.into() };
            prop_assert_eq!(Change::decode(&change.encode(&at)), Ok((at, change)));
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Change::decode(&bytes);
            let _ = Genesis::decode(&bytes);
        }
    }

    #[test]
    fn a_newer_format_is_told_from_a_foreign_file() {
        let genesis = Genesis {
            chain_id: 1,
            gas_limit: 2,
            base_fee: 3,
            timestamp: 4,
            balances: vec![],
        };
        let mut bytes = genesis.encode();
        assert_eq!(Genesis::decode(&bytes), Ok(genesis));
        bytes[10] = 2;
        assert_eq!(Genesis::decode(&bytes), Err(Malformed::Newer(2)));
        bytes[1] = b'X';
        assert_eq!(Genesis::decode(&bytes), Err(Malformed::NotAJournal));
    }
}
