//! Scenario files: the shipped ones are valid, and mistakes are named with their place.

use assay_simulations::scenario::{Role, Scenario, ScenarioError};

use crate::small::SMALL;

fn refusal(text: &str) -> String {
    Scenario::parse("bad.toml", text)
        .expect_err("the scenario is wrong")
        .to_string()
}

#[test]
fn the_shipped_smoke_scenario_is_valid_and_has_at_least_300_peers() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/smoke.toml");
    let scenario = Scenario::load(&path).expect("it is shipped, so it must load");
    assert!(scenario.peers() >= 300);
    let count = |role| {
        scenario
            .population
            .iter()
            .filter(|p| p.role == role)
            .map(|p| p.count)
            .sum::<u32>()
    };
    assert_eq!(count(Role::Validator), 7);
    assert!(count(Role::Labeler) >= 300);
}

#[test]
fn an_unknown_field_is_refused_with_its_line() {
    let text = SMALL.replace("mesh_degree = 4", "mesh_degre = 4");
    let line = text
        .lines()
        .position(|l| l.contains("mesh_degre "))
        .expect("just written")
        + 1;
    let why = refusal(&text);
    assert!(
        why.starts_with(&format!("scenario bad.toml, line {line}, column 1: ")),
        "{why}"
    );
    assert!(
        why.contains("unknown field `mesh_degre`") && why.contains("`mesh_degree`"),
        "{why}"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_line() {
    let text = SMALL.replace("write_ms = 4", "write_ms = \"slow\"");
    let line = text
        .lines()
        .position(|l| l.contains("slow"))
        .expect("just written")
        + 1;
    assert!(
        refusal(&text).contains(&format!("line {line}, column 12")),
        "{}",
        refusal(&text)
    );
}

#[test]
fn values_out_of_range_are_refused_with_field_and_remedy() {
    for (from, to, field, remedy) in [
        (
            "loss_ppm = 5_000",
            "loss_ppm = 5_000_000",
            "network.loss_ppm",
            "parts per million",
        ),
        (
            "deadline_ms = 400_000",
            "deadline_ms = 0",
            "deadline_ms",
            "30 days",
        ),
        ("k = 3", "k = 9", "task[0].k", "k <= k_max"),
        ("items = 40", "items = 0", "task[0].items", "1 to"),
        (
            "actor = \"forger\"",
            "actor = \"mute\"",
            "population[5].actor",
            "validators",
        ),
        (
            "name = \"forger\"",
            "name = \"spammer\"",
            "population[5].name",
            "twice",
        ),
        (
            "role = \"client\"",
            "role = \"labeler\"",
            "population",
            "client",
        ),
        (
            "title = \"small task\"",
            "title = \"small task\"\nclient = 3",
            "task[0].client",
            "1 clients",
        ),
        (
            "write_ms = 4",
            "write_ms = 0",
            "disk.crash_in_write_ppm",
            "write_ms",
        ),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let why = refusal(&SMALL.replacen(from, to, 1));
        assert!(
            why.contains(&format!("field `{field}`")) && why.contains(remedy),
            "{from} -> {to}: {why}"
        );
    }
}

#[test]
fn an_override_of_nobody_is_refused() {
    let text =
        format!("{SMALL}\n[[answer_override]]\nlabeler = \"careful-99\"\nitem = 1\nlabel = 1\n");
    assert!(
        refusal(&text).contains("`answer_override[0].labeler`"),
        "{}",
        refusal(&text)
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Scenario::load(std::path::Path::new("nowhere.toml")).expect_err("there is none");
    assert!(matches!(error, ScenarioError::Read { .. }));
    assert!(error.to_string().contains("nowhere.toml"));
}
