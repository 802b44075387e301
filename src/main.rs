//! The casegate binary: parse, run, exit code.

use std::process::ExitCode;

use casegate::cli::failure::Exit;
use casegate::cli::output::Output;
use casegate::cli::{self, Cli};
use casegate::clock::Clock;
use casegate::lang::Lang;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    cli::run(&cli, &Clock::System, &cli.output()).into()
}

/// Tells what is wrong with the command line; help and version are no error.
fn refuse(error: &clap::Error) -> Exit {
    let exit = if error.use_stderr() {
        Exit::Refused
    } else {
        Exit::Done
    };
    let told = if exit == Exit::Refused && std::env::args_os().any(|arg| arg == "--json") {
        Output::stdio(true, Lang::En, None).fail("command.usage", error.to_string().trim())
    } else {
        error.print()
    };
    told.map_or(Exit::Internal, |()| exit)
}
