//! The key that signs transactions.
//!
//! Signs EIP-1559 transactions with an explicit chain id and nonce; knows neither fees nor order. Never printed.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind, U256},
    signers::local::PrivateKeySigner,
};
use assay_protocol::id::{Account, Blob};

use super::{error::ChainError, intent::Signed};

/// A raised fee exceeds the old one by at least this, in parts per thousand: what pools ask for before they replace.
const BUMP_PERMILLE: u128 = 125;

/// What a transaction may cost per unit of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    pub max: u128,
    pub priority: u128,
}

impl Fees {
    /// Room for the base fee to double.
    pub fn from_base(base: u128, priority: u128) -> Self {
        Self {
            max: base.saturating_mul(2).saturating_add(priority),
            priority,
        }
    }

    fn raised(self, now: Self) -> Self {
        let up = |old: u128| {
            old.saturating_add(old.saturating_mul(BUMP_PERMILLE).div_ceil(1000))
                .saturating_add(1)
        };
        let priority = up(self.priority).max(now.priority);
        Self {
            max: up(self.max).max(now.max).max(priority),
            priority,
        }
    }
}

/// A transaction before it has a nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// Callee; none to create a contract.
    pub to: Option<Account>,
    pub data: Bytes,
    pub gas_limit: u64,
    pub fees: Fees,
}

/// An account that can sign.
#[derive(Clone)]
pub(super) struct Wallet {
    signer: PrivateKeySigner,
    chain_id: u64,
}

impl Wallet {
    pub fn new(secret: &[u8; 32], chain_id: u64) -> Result<Self, ChainError> {
        let signer = PrivateKeySigner::from_bytes(&B256::from(*secret)).map_err(|_| {
            ChainError::Config(
                "the EVM key is not a secp256k1 secret (zero, or not below the group order)"
                    .to_owned(),
            )
        })?;
        Ok(Self { signer, chain_id })
    }

    pub fn account(&self) -> Account {
        self.signer.address().into()
    }

    pub fn sign(&self, draft: Draft, nonce: u64) -> Result<Signed, ChainError> {
        self.seal(TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: draft.gas_limit,
            max_fee_per_gas: draft.fees.max,
            max_priority_fee_per_gas: draft.fees.priority,
            to: draft
                .to
                .map_or(TxKind::Create, |to| TxKind::Call(Address::from(to))),
            value: U256::ZERO,
            access_list: Default::default(),
            input: draft.data,
        })
    }

    /// The same step under the same nonce with a higher fee.
    pub fn raise(&self, signed: &Signed, now: Fees) -> Result<Signed, ChainError> {
        let envelope = TxEnvelope::decode_2718_exact(&signed.raw.0)
            .map_err(|e| ChainError::Store(format!("a recorded transaction is damaged ({e})")))?;
        let Some(old) = envelope.as_eip1559() else {
            return Err(ChainError::Store(
                "a recorded transaction is of a type that we never sign".to_owned(),
            ));
        };
        let mut tx = old.tx().clone();
        let fees = Fees {
            max: tx.max_fee_per_gas,
            priority: tx.max_priority_fee_per_gas,
        }
        .raised(now);
        tx.max_fee_per_gas = fees.max;
        tx.max_priority_fee_per_gas = fees.priority;
        self.seal(tx)
    }

    fn seal(&self, mut tx: TxEip1559) -> Result<Signed, ChainError> {
        let signature = self
            .signer
            .sign_transaction_sync(&mut tx)
            .map_err(|e| ChainError::Config(format!("the EVM key cannot sign: {e}")))?;
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        Ok(Signed {
            raw: Blob(envelope.encoded_2718()),
            hash: (*envelope.tx_hash()).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_fee_is_at_least_an_eighth_higher_and_keeps_everything_else() {
        let wallet = Wallet::new(&[7; 32], 5).expect("a key");
        let fees = Fees::from_base(1_000, 7);
        let draft = Draft {
            to: Some(Account([1; 20])),
            data: Bytes::from_static(b"x"),
            gas_limit: 9,
            fees,
        };
        let first = wallet.sign(draft.clone(), 3).expect("signs");
        assert_eq!(
            wallet.sign(draft, 3).expect("signs"),
            first,
            "the same step has the same bytes"
        );
        let second = wallet.raise(&first, fees).expect("raises");
        let read = |s: &Signed| {
            TxEnvelope::decode_2718_exact(&s.raw.0)
                .expect("decodes")
                .as_eip1559()
                .expect("type 2")
                .tx()
                .clone()
        };
        let (a, b) = (read(&first), read(&second));
        assert!(b.max_fee_per_gas * 1000 >= a.max_fee_per_gas * 1125);
        assert!(b.max_priority_fee_per_gas * 1000 >= a.max_priority_fee_per_gas * 1125);
        assert_eq!(
            (a.nonce, a.chain_id, a.to, a.input, a.gas_limit),
            (b.nonce, b.chain_id, b.to, b.input, b.gas_limit)
        );
        assert_ne!(first.hash, second.hash);
        let market = Fees::from_base(1_000_000, 50);
        assert!(
            read(&wallet.raise(&first, market).expect("raises")).max_fee_per_gas >= market.max,
            "follows the market"
        );
        assert!(Wallet::new(&[0; 32], 5).is_err());
    }
}
