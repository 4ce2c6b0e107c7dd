//! What a contract's refusal means: whether trying again can help, and how to say it.
//!
//! Pure. Where somebody else may have been faster, the answer is "look again": the plan then sees what the chain holds.

use alloy::sol_types::{Revert, SolError, SolInterface};

use super::bindings::{
    DevToken, Disputes, EpochAnchor, PrevrandaoBeacon, Registry, RewardDistributor, TaskEscrow,
    datasets::DatasetShares, pool::BonusPool, splitter::RevenueSplitter,
};

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// The same call can never succeed.
    Permanent,
    /// It can succeed later, or somebody else has done it.
    LookAgain,
    /// Nobody told us what it means.
    Unknown,
}

/// Refusals that time, or another look, settles.
const LOOK_AGAIN: &[&str] = &[
    "ActivationBacklog",
    "AlreadyFunded",
    "AlreadyRecorded",
    "AlreadyRegistered",
    "BeaconNotReady",
    "BlockOutOfWindow",
    "DrawNotNeeded",
    "DrawNotRequested",
    "DrawPending",
    "ERC20InsufficientAllowance",
    "ERC20InsufficientBalance",
    "NoValidators",
    "NotActive",
    "NotTheHead",
    "NothingDue",
    "ReentrancyGuardReentrantCall",
    "TermRunning",
    "WrongEpoch",
];

/// Name and values of a refusal of one of our contracts.
fn read(data: &[u8]) -> Option<String> {
    fn one<E: SolInterface + std::fmt::Debug>(data: &[u8]) -> Option<String> {
        E::abi_decode(data).ok().map(|e| format!("{e:?}"))
    }
    let text = one::<EpochAnchor::EpochAnchorErrors>(data)
        .or_else(|| one::<TaskEscrow::TaskEscrowErrors>(data))
        .or_else(|| one::<RewardDistributor::RewardDistributorErrors>(data))
        .or_else(|| one::<Registry::RegistryErrors>(data))
        .or_else(|| one::<Disputes::DisputesErrors>(data))
        .or_else(|| one::<DevToken::DevTokenErrors>(data))
        .or_else(|| one::<BonusPool::BonusPoolErrors>(data))
        .or_else(|| one::<DatasetShares::DatasetSharesErrors>(data))
        .or_else(|| one::<RevenueSplitter::RevenueSplitterErrors>(data))
        .or_else(|| one::<PrevrandaoBeacon::PrevrandaoBeaconErrors>(data))?;
    // "WrongEpoch(WrongEpoch { expected: 1, given: 3 })": the variant repeats the error's name.
    let inner = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    Some(inner.unwrap_or(&text).to_owned())
}

/// What the revert bytes of a call mean, and what to do.
pub(super) fn explain(data: &[u8]) -> (Advice, String) {
    if let Ok(revert) = Revert::abi_decode(data) {
        return (
            Advice::Unknown,
            format!(
                "the contract refuses: {}",
                super::error::clip(&revert.reason)
            ),
        );
    }
    let Some(text) = read(data) else {
        let head: String = data.iter().take(4).map(|b| format!("{b:02x}")).collect();
        return (
            Advice::Unknown,
            format!(
                "the contract refuses without a known reason (0x{head}, {} bytes)",
                data.len()
            ),
        );
    };
    let name = text.split([' ', '(']).next().unwrap_or_default();
    let later = match name {
        // A block that this endpoint has not reached yet comes; an old one never comes back.
        "StaleBlock" => EpochAnchor::StaleBlock::abi_decode(data)
            .is_ok_and(|e| alloy::primitives::U256::from(e.chainBlock) >= e.current),
        // A draw that this endpoint has not seen yet.
        "WrongTerm" => EpochAnchor::WrongTerm::abi_decode(data).is_ok_and(|e| e.given > e.expected),
        name => LOOK_AGAIN.contains(&name),
    };
    (
        if later {
            Advice::LookAgain
        } else {
            Advice::Permanent
        },
        format!("the contract refuses: {}", super::error::clip(&text)),
    )
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals_say_their_name_and_whether_waiting_helps() {
        let stale = |block: u64, current: u64| {
            explain(
                &EpochAnchor::StaleBlock {
                    chainBlock: block,
                    current: U256::from(current),
                }
                .abi_encode(),
            )
        };
        assert_eq!(
            stale(500, 500).0,
            Advice::LookAgain,
            "the endpoint is behind"
        );
        assert_eq!(
            stale(100, 500).0,
            Advice::Permanent,
            "out of the window for ever"
        );
        assert!(
            stale(100, 500)
                .1
                .contains("StaleBlock { chainBlock: 100, current: 500 }"),
            "{}",
            stale(100, 500).1
        );
        let (advice, text) = explain(
            &EpochAnchor::BadSignature {
                seat: U256::from(3),
            }
            .abi_encode(),
        );
        assert_eq!(advice, Advice::Permanent);
        assert!(text.contains("BadSignature"), "{text}");
        let (advice, _) = explain(
            &TaskEscrow::AlreadyFunded {
                taskId: [1; 32].into(),
                client: [2; 20].into(),
            }
            .abi_encode(),
        );
        assert_eq!(advice, Advice::LookAgain);
        assert_eq!(explain(b"").0, Advice::Unknown);
        assert_eq!(
            explain(&Revert::from("no").abi_encode()),
            (Advice::Unknown, "the contract refuses: no".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_revert_data_panics(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = explain(&data);
        }
    }
}
