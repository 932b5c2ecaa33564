//! The `shardbank` command: parse, run, print the error, choose the exit code.

use std::process::ExitCode;

use clap::Parser;
use shardbank::cli::Cli;
use shardbank::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            for line in &stop.lines {
                eprintln!("{line}");
            }
            stop.exit.into()
        }
    }
}
