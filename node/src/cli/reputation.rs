//! `assay reputation`: what the lanes say of a labeler, and the proof of it for any contract.

use super::{
    args::ReputationCommand,
    client::Api,
    failure::{Exit, Failure},
    folder::{self, Folder},
    text::{self, Printer},
};
use crate::api::model::ReputationView;

/// Shows or proves a reputation.
///
/// # Errors
/// No running node, nobody to prove anything of, a file that cannot be written.
pub async fn run(
    folder: &Folder,
    what: &ReputationCommand,
    printer: Printer,
) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    let (ReputationCommand::Show { account } | ReputationCommand::Prove { account, .. }) = what;
    let account = match account {
        Some(account) => *account,
        None => folder.account()?,
    };
    let view: ReputationView = api.get(&format!("/v1/reputation/{account}")).await?;
    let ReputationCommand::Prove { out, .. } = what else {
        if printer.json {
            return printer.data(&view);
        }
        return printer.line(&describe(&view));
    };
    if view.lanes.is_empty() {
        return Err(Failure::new(
            Exit::Failure,
            format!("no lane has evidence about 0x{account}, so there is nothing to prove"),
        )
        .next("evidence comes from gold items, when a task is settled"));
    }
    let Some(path) = out else {
        return printer.data(&view);
    };
    let mut text = serde_json::to_string_pretty(&view).map_err(std::io::Error::from)?;
    text.push('\n');
    folder::replace(path, 0o644, &text)?;
    printer.say(&format!(
        "wrote {}: header and proof as `ReputationAnchor.prove` takes them, until the lane's next epoch",
        path.display()
    ));
    Ok(())
}

fn describe(view: &ReputationView) -> String {
    if view.lanes.is_empty() {
        return format!("no lane has evidence about 0x{}", view.account);
    }
    let mut table = text::table(["LANE", "EPOCH", "DOMAIN", "RIGHT", "WRONG", "ON CHAIN"]);
    for line in &view.lanes {
        let thousandths = |n: u32| format!("{}.{:03}", n / 1_000, n % 1_000);
        let chain = match line.confirmed {
            Some(true) => "confirmed",
            Some(false) => "another header is the newest",
            None => "not asked",
        };
        table.add_row([
            line.header.lane.to_string(),
            line.header.epoch.to_string(),
            line.domain.clone(),
            thousandths(line.proof.evidence.alpha_milli),
            thousandths(line.proof.evidence.beta_milli),
            chain.to_owned(),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use assay_protocol::id::Account;

    use super::*;

    #[test]
    fn nothing_known_is_said_and_not_an_empty_table() {
        let view = ReputationView {
            account: Account([7; 20]),
            lanes: Vec::new(),
        };
        assert!(describe(&view).contains("no lane has evidence about 0x0707"));
    }
}
