//! The command: see `enroll --help`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match enroll::run(&enroll::Args::parse(), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(enroll::Trouble(code, text)) => {
            eprintln!("enroll: {text}");
            ExitCode::from(code)
        }
    }
}
