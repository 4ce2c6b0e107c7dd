//! The simulator from outside: determinism, checks that fail, scenarios that are refused, and whole small networks.

mod checks_fail;
mod command_line;
mod determinism;
mod scenarios;
mod small;
