//! `assay dispute`: anchored epochs that this node cannot derive, and how far the validators are in taking them back.

use super::{
    client::Api,
    failure::Failure,
    folder::Folder,
    text::{self, Printer},
};
use crate::api::model::DisputeView;

/// Lists the disputes.
///
/// # Errors
/// No running node.
pub async fn run(folder: &Folder, printer: Printer) -> Result<(), Failure> {
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
    use assay_protocol::id::Hash;

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
}
