//! One digest per kind of label over the scores of made-up crowds, for comparison between machines.
//!
//! `cargo run --release -p assay-protocol --example score_digest -- [small crowds per kind] [threads] [order]`
//!
//! Without arguments it prints what `protocol/vectors/score_digest.txt` holds; any number of threads and any order (zero leaves the
//! votes as drawn) must print the same lines. On purpose the file changes only together with a method: write the output into it.

#![allow(
    clippy::disallowed_methods,
    reason = "a program: it reads its arguments"
)]

mod crowds;
mod digest;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|given| {
        given.parse::<u32>().unwrap_or_else(|error| {
            eprintln!("{given}: {error}");
            std::process::exit(2)
        })
    });
    let small = numbers.next().unwrap_or(digest::SMALL_CROWDS);
    let threads = numbers.next().unwrap_or(1);
    let order = numbers.next().unwrap_or(0);
    print!(
        "{}",
        digest::report(small, threads as usize, u64::from(order))
    );
}
