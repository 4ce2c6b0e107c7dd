//! `assay dataset`: data sets of finished tasks and their income, through the running node, whose outbox survives a crash.

use std::{fs, path::Path};

use assay_protocol::id::Hash;

use super::{
    args::DatasetCommand,
    bonus::{paid_in, paid_out, tokens},
    client::Api,
    failure::{Exit, Failure},
    folder::Folder,
    text::Printer,
};
use crate::api::model::{
    DatasetDone, DatasetOrder, DatasetView, PayInDone, PayInOrder, ShareOrder, SharesDone,
};

/// Largest licence text in bytes (1 MiB).
const LICENCE_BYTES_MAX: u64 = 1 << 20;

/// Publishes, shows, pays for or collects from a data set.
///
/// # Errors
/// No running node, an unknown task, a file that cannot be read, a contract that refuses.
pub async fn run(folder: &Folder, what: &DatasetCommand, printer: Printer) -> Result<(), Failure> {
    let api = Api::open(folder)?;
    match what {
        DatasetCommand::Publish {
            task,
            licence_text,
            royalty_bps,
        } => {
            let order = DatasetOrder {
                licence: licence(licence_text)?,
                royalty_bps: *royalty_bps,
            };
            let task = api.task_id(task).await?;
            let path = format!("/v1/datasets/{task}/publish");
            let done: DatasetDone = api.post(&path, &order).await?;
            if printer.json {
                return printer.data(&done);
            }
            match done.tx {
                Some(tx) => printer.line(&format!(
                    "published (transaction 0x{tx}, {} gas)",
                    done.gas_used
                ))?,
                None => printer.say("the data set was published already"),
            }
            printer.line(&describe(&done.now))
        }
        DatasetCommand::Show { task } => {
            let task = api.task_id(task).await?;
            let view: DatasetView = api.get(&format!("/v1/datasets/{task}")).await?;
            if printer.json {
                return printer.data(&view);
            }
            printer.line(&describe(&view))
        }
        DatasetCommand::Pay {
            task,
            amount,
            token,
            version,
        } => {
            let task = api.task_id(task).await?;
            let order = PayInOrder {
                token: *token,
                amount: amount.clone(),
                version: Some(*version),
            };
            let done: PayInDone = api
                .post(&format!("/v1/datasets/{task}/pay"), &order)
                .await?;
            paid_in(&done, "paid", printer)
        }
        DatasetCommand::Claim {
            task,
            token,
            version,
            everyone,
        } => {
            let task = api.task_id(task).await?;
            let order = ShareOrder {
                token: *token,
                payee: (!everyone).then(|| folder.account()).transpose()?,
                version: Some(*version),
            };
            let done: SharesDone = api
                .post(&format!("/v1/datasets/{task}/claim"), &order)
                .await?;
            paid_out(&done, printer)
        }
    }
}

/// BLAKE3 of a licence's text.
fn licence(path: &Path) -> Result<Hash, Failure> {
    let failed = |e: std::io::Error| Failure::file(Exit::Failure, "read", path, &e);
    let refused = |why: &str| {
        Err(Failure::new(
            Exit::Failure,
            format!("{}: {why}", path.display()),
        ))
    };
    if fs::metadata(path).map_err(failed)?.len() > LICENCE_BYTES_MAX {
        return refused("a licence's text has at most 1 MiB");
    }
    let text = fs::read(path).map_err(failed)?;
    if text.trim_ascii().is_empty() {
        return refused("the licence's text is empty");
    }
    Ok(Hash(*blake3::hash(&text).as_bytes()))
}

fn describe(view: &DatasetView) -> String {
    if view.versions.is_empty() {
        return "the data set of this task is not published; its client can, when the task is settled: `assay dataset publish`".to_owned();
    }
    let mut parts = Vec::new();
    for v in &view.versions {
        let checked = if v.matches_task {
            "content and shares are what the task's outcome gives"
        } else {
            "content or shares are not what this node computes from the task's outcome"
        };
        parts.push(format!(
            "version   {}\ncontent   {}\nlicence   {} (BLAKE3 of its text)\nshared by {} labelers; {checked}",
            v.version, v.content, v.licence, v.contributors
        ));
        if !v.tokens.is_empty() {
            parts.push(tokens(&v.tokens));
        }
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use assay_protocol::id::{Account, TaskId};

    use super::*;
    use crate::api::model::VersionLine;

    #[test]
    fn a_licence_is_named_by_the_hash_of_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LICENCE");
        fs::write(&path, "do good\n").unwrap();
        assert_eq!(
            licence(&path).unwrap().0,
            *blake3::hash(b"do good\n").as_bytes()
        );
        fs::write(&path, " \n").unwrap();
        assert!(licence(&path).expect_err("empty").text.contains("empty"));
        assert!(licence(dir.path().join("none").as_path()).is_err());
    }

    #[test]
    fn a_version_that_does_not_follow_from_its_task_is_told_apart() {
        let mut view = DatasetView {
            task: TaskId([1; 32]),
            publisher: Account([2; 20]),
            versions: Vec::new(),
        };
        assert!(describe(&view).contains("not published"));
        view.versions.push(VersionLine {
            version: 1,
            content: Hash([3; 32]),
            licence: Hash([4; 32]),
            contributors: 5,
            matches_task: true,
            tokens: Vec::new(),
        });
        assert!(describe(&view).contains("5 labelers; content and shares are what"));
        view.versions[0].matches_task = false;
        assert!(describe(&view).contains("are not what this node computes"));
    }
}
