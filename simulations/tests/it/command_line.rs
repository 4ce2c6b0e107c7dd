//! The program itself: exit codes, help, JSON.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-sim"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("ASSAY_SIM_SEED")
        .args(args)
        .output()
        .expect("the program starts")
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the test's own folder can be written");
    path
}

#[test]
fn help_starts_with_an_example() {
    for args in [&["--help"][..], &["run", "--help"]] {
        let out = sim(args);
        let text = String::from_utf8(out.stdout).expect("text");
        assert_eq!(out.status.code(), Some(0));
        assert!(text.starts_with("Example:\n  assay-sim run"), "{text}");
    }
}

#[test]
fn wrong_usage_is_2_and_a_wrong_scenario_is_3() {
    assert_eq!(sim(&["fly"]).status.code(), Some(2));
    assert_eq!(sim(&["run"]).status.code(), Some(2));
    let missing = sim(&["run", "nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere.toml"));
    let wrong = file("wrong.toml", "name = \"x\"\ndeadline_ms = 5\nsped = 3\n");
    let out = sim(&["check", &wrong.display().to_string()]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stderr).contains("line 3"));
    assert_eq!(
        sim(&["check", "scenarios/smoke.toml"]).status.code(),
        Some(0)
    );
}

#[test]
fn json_holds_digest_seed_and_checks_and_a_failed_check_is_1() {
    let small = file("small.toml", crate::small::SMALL);
    let trace = small.with_extension("trace");
    let out = sim(&[
        "run",
        &small.display().to_string(),
        "--json",
        "--seed",
        "9",
        "--trace",
        &trace.display().to_string(),
    ]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON object");
    assert_eq!(report["seed"], 9);
    assert_eq!(report["digest"].as_str().map(str::len), Some(64));
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(10));
    assert_eq!(out.status.code(), Some(i32::from(report["passed"] != true)));
    let lines = std::fs::read_to_string(&trace)
        .expect("the trace was written")
        .lines()
        .count();
    assert_eq!(report["trace_entries"].as_u64(), Some(lines as u64));

    // No time to finish: the task is not over, so the run fails.
    let hasty = file(
        "hasty.toml",
        &crate::small::SMALL.replace("400_000", "30_000"),
    );
    let out = sim(&["run", &hasty.display().to_string()]);
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).expect("text");
    assert!(text.contains("FAILED terminal"), "{text}");
    assert!(
        !text.contains('\u{1b}') && !text.contains('│'),
        "plain text when it is not a terminal"
    );
}
