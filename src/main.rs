//! The casegate binary: parse, run, exit code.

use std::process::ExitCode;

use casegate::cli::failure::Exit;
use casegate::cli::output::Output;
use casegate::cli::{self, Cli};
use casegate::clock::Clock;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let exit = if error.use_stderr() {
                Exit::Refused
            } else {
                Exit::Done
            };
            return error.print().map_or(Exit::Internal, |()| exit).into();
        }
    };
    let output = Output::stdio(cli.json, cli.language());
    cli::run(&cli, &Clock::System, &output).into()
}
