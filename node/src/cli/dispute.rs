//! `assay dispute`: anchored epochs that this node cannot derive, how far the validators are in taking them back, and proofs that need none
//! of them.

use std::collections::BTreeMap;

use assay_protocol::amount::Amount;

use super::{
    args::{DisputeCommand, ProveArgs},
    client::Api,
    failure::Failure,
    folder::Folder,
    leaves,
    text::{self, Printer},
};
use crate::api::model::{DisputeView, ProofDone, ProofOrder};

/// Lists the disputes, or proves a fault.
///
/// # Errors
/// No running node, leaves that cannot be read or show nothing, a chain that refuses.
pub async fn run(
    folder: &Folder,
    what: Option<&DisputeCommand>,
    printer: Printer,
) -> Result<(), Failure> {
    match what {
        None => list(folder, printer).await,
        Some(DisputeCommand::Prove(args)) => prove(folder, args, printer).await,
    }
}

async fn prove(folder: &Folder, args: &ProveArgs, printer: Printer) -> Result<(), Failure> {
    let decimals = folder.profile(&folder.config()?)?.params.token_decimals;
    let read = |path: &Option<_>| path.as_deref().map(leaves::read).transpose();
    let order = ProofOrder {
        lane: args.lane,
        epoch: args.epoch,
        payouts: read(&args.payouts)?,
        audits: read(&args.audits)?,
    };
    let done: ProofDone = Api::open(folder)?
        .post("/v1/disputes/proofs", &order)
        .await?;
    if printer.json {
        return printer.data(&done);
    }
    printer.line(&proven(&done, decimals))
}

fn proven(done: &ProofDone, decimals: u8) -> String {
    let tokens = |a: Amount| a.to_decimal(decimals);
    // Stakes are alike, so a line for each signer would say the same many times.
    let mut losses: BTreeMap<Amount, usize> = BTreeMap::new();
    for (_, loss) in &done.signers {
        *losses.entry(*loss).or_default() += 1;
    }
    let mut losses: Vec<String> = losses
        .iter()
        .map(|(loss, n)| format!("{n} of them: {} tokens each", tokens(*loss)))
        .collect();
    if losses.is_empty() {
        losses.push("their names do not stand in the transaction that posted it".to_owned());
    }
    let lane = if done.taken_back {
        "the epoch is taken back; the next committee does it again"
    } else {
        "stays: the epoch pays already"
    };
    let sent = match done.tx {
        Some(tx) => format!("0x{tx} ({} gas)", done.gas_used),
        None => "none: somebody else was faster".to_owned(),
    };
    format!(
        "lane {}, epoch {}: {}\n  header       0x{}\n  signers      lose part of their stakes and are banned; {}\n  reward       {} tokens\n  lane         {lane}\n  transaction  {sent}",
        done.lane,
        done.epoch,
        done.fault,
        done.header,
        losses.join(", "),
        tokens(done.reward),
    )
}

async fn list(folder: &Folder, printer: Printer) -> Result<(), Failure> {
    let disputes: Vec<DisputeView> = Api::open(folder)?.get("/v1/disputes").await?;
    if printer.json {
        return printer.data(&disputes);
    }
    if disputes.is_empty() {
        printer
            .say("no dispute: every anchored epoch that this node knows follows from its records");
    }
    for dispute in &disputes {
        printer.line(&describe(dispute))?;
    }
    Ok(())
}

fn describe(d: &DisputeView) -> String {
    let why = if d.wrong {
        "does not follow from the records that it names"
    } else {
        "is made of records that nobody hands out"
    };
    format!(
        "lane {}, epoch {} {why}\n  header    0x{}, posted {} ago\n  against   {} of {} validators, as far as this node has asked; more \
         than half of all stake takes it back before it pays",
        d.lane,
        d.epoch,
        d.header,
        text::secs(d.chain_time.saturating_sub(d.posted_at)),
        d.votes,
        d.validators
    )
}

#[cfg(test)]
mod tests {
    use assay_protocol::id::{Account, Hash};

    use super::*;

    #[test]
    fn a_dispute_says_what_is_wrong_and_how_many_are_against_it() {
        let mut dispute = DisputeView {
            lane: 2,
            epoch: 7,
            header: Hash([0xab; 32]),
            posted_at: 1_000,
            chain_time: 1_090,
            wrong: true,
            votes: 3,
            validators: 7,
        };
        let text = describe(&dispute);
        for part in [
            "lane 2, epoch 7 does not follow",
            "abab",
            "1m 30s",
            "3 of 7",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        dispute.wrong = false;
        assert!(describe(&dispute).contains("nobody hands out"));
    }

    #[test]
    fn a_proof_says_what_was_wrong_what_it_costs_and_where_it_stands() {
        let mut done = ProofDone {
            lane: 2,
            epoch: 7,
            header: Hash([0xab; 32]),
            fault: "the header owes money and has no audit tree".to_owned(),
            signers: vec![
                (Account([1; 20]), Amount(25_000_000)),
                (Account([2; 20]), Amount(25_000_000)),
                (Account([3; 20]), Amount(1_500_000)),
            ],
            reward: Amount(25_750_000),
            taken_back: true,
            tx: Some(Hash([0xcd; 32])),
            gas_used: 210_000,
        };
        let text = proven(&done, 6);
        for part in [
            "lane 2, epoch 7: the header owes money and has no audit tree",
            "2 of them: 25 tokens each",
            "1 of them: 1.5 tokens each",
            "25.75 tokens",
            "is taken back",
            "cdcd",
            "210000 gas",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        done.taken_back = false;
        done.tx = None;
        let text = proven(&done, 6);
        assert!(
            text.contains("pays already") && text.contains("faster"),
            "{text}"
        );
    }
}
