//! The contracts as Rust types, generated from the compiled artifacts that are shipped with the protocol.

#![allow(
    missing_docs,
    reason = "generated; the Solidity sources document every item"
)]

use alloy::sol;

sol!(
    #[sol(all_derives)]
    AccountScript,
    "../protocol/contracts/artifacts/AccountScript.json"
);
sol!(
    #[sol(all_derives)]
    DevToken,
    "../protocol/contracts/artifacts/DevToken.json"
);
sol!(
    #[sol(all_derives)]
    PrevrandaoBeacon,
    "../protocol/contracts/artifacts/PrevrandaoBeacon.json"
);
sol!(
    #[sol(all_derives)]
    #[allow(clippy::too_many_arguments)]
    Registry,
    "../protocol/contracts/artifacts/Registry.json"
);
sol!(
    #[sol(all_derives)]
    RewardDistributor,
    "../protocol/contracts/artifacts/RewardDistributor.json"
);
sol!(
    #[sol(all_derives)]
    TaskEscrow,
    "../protocol/contracts/artifacts/TaskEscrow.json"
);
sol!(
    #[sol(all_derives)]
    EpochAnchor,
    "../protocol/contracts/artifacts/EpochAnchor.json"
);
sol!(
    #[sol(all_derives)]
    Disputes,
    "../protocol/contracts/artifacts/Disputes.json"
);
sol!(
    #[sol(all_derives)]
    ReputationAnchor,
    "../protocol/contracts/artifacts/ReputationAnchor.json"
);

// The libraries of these share names, so each has a module of its own.
pub mod pool {
    alloy::sol!(
        #[sol(all_derives)]
        BonusPool,
        "../protocol/contracts/artifacts/BonusPool.json"
    );
}
pub mod datasets {
    alloy::sol!(
        #[sol(all_derives)]
        DatasetShares,
        "../protocol/contracts/artifacts/DatasetShares.json"
    );
}
pub mod splitter {
    alloy::sol!(
        #[sol(all_derives)]
        RevenueSplitter,
        "../protocol/contracts/artifacts/RevenueSplitter.json"
    );
}
