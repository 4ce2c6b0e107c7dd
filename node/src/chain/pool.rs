//! Talking to an endpoint's pool of waiting transactions: what gas costs, handing over raw bytes, finding receipts.
//!
//! Holds no state and decides nothing; reads the different words of different clients into a few cases.

use alloy::primitives::{B256, Bytes, U256};
use assay_protocol::id::Hash;

use super::{
    endpoint::{At, Endpoint, ReceiptRow},
    error::{RpcFault, clip},
    intent::{Sent, Signed},
    wallet::Fees,
};

/// Priority fee where the endpoint suggests none, in wei per gas.
const PRIORITY_FALLBACK: u128 = 1_000_000_000;
/// Base fee above which an endpoint is not believed, in wei per gas (a thousandth of a coin; no public chain has asked for that).
const BASE_FEE_MAX: u128 = 1_000_000_000_000_000;
/// Priority fee above which an endpoint is not believed unless the base fee is as high, in wei per gas. What is offered here is
/// paid whatever the block costs, so a false suggestion would give our coins to whoever builds the block.
const PRIORITY_MAX: u128 = 1_000_000_000_000;

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

/// The receipt of a transaction, from the block that the endpoint's own header says it is.
pub(super) async fn receipt(endpoint: &Endpoint, tx: Hash) -> Result<Option<ReceiptRow>, RpcFault> {
    let Some(receipt) = endpoint.receipt(tx).await? else {
        return Ok(None);
    };
    let row = endpoint.header(At::Number(receipt.block)).await?;
    if row.is_some_and(|row| row.hash == receipt.block_hash) {
        return Ok(Some(receipt));
    }
    Err(RpcFault::garbage(
        &endpoint.label,
        "eth_getTransactionReceipt",
        format!(
            "transaction 0x{tx} in block {} ({}), which is not its block of that number",
            receipt.block, receipt.block_hash
        ),
    ))
}

/// The receipt of whichever of a step's transactions was mined.
pub(super) async fn receipt_of(
    endpoint: &Endpoint,
    sent: &Sent,
) -> Result<Option<(Hash, ReceiptRow)>, RpcFault> {
    for tx in sent.txs.iter().rev() {
        if let Some(receipt) = receipt(endpoint, tx.hash).await? {
            return Ok(Some((tx.hash, receipt)));
        }
    }
    Ok(None)
}

/// What gas costs now, or why nothing should be paid for it.
pub(super) async fn market(endpoint: &Endpoint) -> Result<Result<Fees, String>, RpcFault> {
    let Some(base) = endpoint.latest().await?.base_fee else {
        return Ok(Err(
            "the chain has no base fee (EIP-1559), which this client needs".to_owned(),
        ));
    };
    let priority = match endpoint
        .ask::<_, U256>("eth_maxPriorityFeePerGas", ())
        .await
    {
        Ok(fee) => fee.saturating_to(),
        Err(RpcFault::Refused { .. }) => PRIORITY_FALLBACK,
        Err(fault) => return Err(fault),
    };
    Ok(believable(base, priority).map_err(|why| {
        format!(
            "{} says that {why}; wait, or choose another endpoint",
            endpoint.label
        )
    }))
}

fn believable(base: u128, priority: u128) -> Result<Fees, String> {
    if base > BASE_FEE_MAX {
        return Err(format!(
            "gas costs {base} wei, more than the {BASE_FEE_MAX} that this client ever pays"
        ));
    }
    let most = PRIORITY_MAX.max(base);
    if priority > most {
        return Err(format!(
            "a transaction needs a priority fee of {priority} wei per gas, more than the {most} that this client gives now"
        ));
    }
    Ok(Fees::from_base(base, priority))
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
    fn no_endpoint_can_talk_us_into_giving_our_coins_away_as_fees() {
        assert_eq!(believable(7, 1), Ok(Fees::from_base(7, 1)));
        assert!(believable(BASE_FEE_MAX, BASE_FEE_MAX).is_ok());
        for (base, priority) in [(1 << 127, 1), (7, 1 << 127), (u128::MAX, u128::MAX)] {
            let why = believable(base, priority).expect_err("absurd");
            assert!(why.contains("wei") && why.contains("more than"), "{why}");
        }
    }

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
