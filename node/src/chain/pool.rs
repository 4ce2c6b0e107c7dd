//! Talking to an endpoint's pool of waiting transactions: what gas costs, handing over raw bytes, finding receipts.
//!
//! Holds no state and decides nothing; reads the different words of different clients into a few cases.

use alloy::primitives::{B256, Bytes, U256};
use assay_protocol::id::Hash;

use super::{
    endpoint::{Endpoint, ReceiptRow},
    error::{RpcFault, clip},
    intent::{Sent, Signed},
    wallet::Fees,
};

/// Priority fee where the endpoint suggests none, in wei per gas.
const PRIORITY_FALLBACK: u128 = 1_000_000_000;

/// How an endpoint took raw bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits there, or was there before.
    Yes,
    NonceTooHigh,
    NoFunds(String),
    No(String),
}

fn read_refusal(message: &str) -> Taken {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if says(&[
        "already known",
        "known transaction",
        "already imported",
        "already exists",
        "nonce too low",
    ]) {
        // With a low nonce the bytes are mined, or another transaction took their place; the receipts will tell.
        Taken::Yes
    } else if says(&["nonce too high", "nonce is too high"]) {
        Taken::NonceTooHigh
    } else if says(&["insufficient funds", "insufficient balance"]) {
        Taken::NoFunds(clip(message))
    } else {
        Taken::No(clip(message))
    }
}

/// The receipt of whichever of a step's transactions was mined.
pub(super) async fn receipt_of(
    endpoint: &Endpoint,
    sent: &Sent,
) -> Result<Option<(Hash, ReceiptRow)>, RpcFault> {
    for tx in sent.txs.iter().rev() {
        if let Some(receipt) = endpoint.receipt(tx.hash).await? {
            return Ok(Some((tx.hash, receipt)));
        }
    }
    Ok(None)
}

/// What gas costs now; none on a chain without a base fee.
pub(super) async fn market(endpoint: &Endpoint) -> Result<Option<Fees>, RpcFault> {
    let Some(base) = endpoint.latest().await?.base_fee else {
        return Ok(None);
    };
    let priority = match endpoint
        .ask::<_, U256>("eth_maxPriorityFeePerGas", ())
        .await
    {
        Ok(fee) => fee.saturating_to(),
        Err(RpcFault::Refused { .. }) => PRIORITY_FALLBACK,
        Err(fault) => return Err(fault),
    };
    Ok(Some(Fees::from_base(base, priority)))
}

/// Hands raw bytes to an endpoint.
pub(super) async fn cast(endpoint: &Endpoint, signed: &Signed) -> Result<Taken, RpcFault> {
    match endpoint
        .ask::<_, B256>(
            "eth_sendRawTransaction",
            (Bytes::copy_from_slice(&signed.raw.0),),
        )
        .await
    {
        Ok(hash) if Hash::from(hash) == signed.hash => Ok(Taken::Yes),
        Ok(hash) => Err(RpcFault::garbage(
            &endpoint.label,
            "eth_sendRawTransaction",
            format!("hash {hash} for 0x{}", signed.hash),
        )),
        Err(RpcFault::Refused { message, .. }) => Ok(read_refusal(&message)),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_common_clients_are_understood() {
        for taken in [
            "already known",
            "Nonce too low: next nonce 5, tx nonce 4",
            "ALREADY_EXISTS: already exists",
            "transaction already imported",
        ] {
            assert_eq!(read_refusal(taken), Taken::Yes, "{taken}");
        }
        assert_eq!(
            read_refusal("nonce too high: address 0x1, tx: 9 state: 5"),
            Taken::NonceTooHigh
        );
        assert!(matches!(
            read_refusal("insufficient funds for gas * price + value"),
            Taken::NoFunds(_)
        ));
        assert!(matches!(
            read_refusal("replacement transaction underpriced"),
            Taken::No(_)
        ));
    }
}
