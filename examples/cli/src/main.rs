//! The `keyface` command: find, compare, enrol and identify faces, measure accuracy and speed, inspect packs.

mod affine;
mod args;
mod bench;
mod board;
mod compare;
mod demo;
mod detect;
mod draw;
mod embed;
mod enroll;
mod eval;
mod explain;
mod export;
mod faces;
mod gallery_file;
mod identify;
mod list;
mod live;
mod logging;
mod migrate;
mod model;
mod pack;
mod pad_report;
mod preview;
mod profile;
mod progress;
mod remove;
mod report;
mod source;
mod verification;

use args::{Cli, Command};
use clap::Parser;
use report::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.verbose);
    let out = Output { json: cli.json };
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args, out),
        Command::Detect(args) => detect::run(&args, out),
        Command::Embed(args) => embed::run(&args, out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Enroll(args) => enroll::run(&args, out),
        Command::Identify(args) => identify::run(&args, out),
        Command::List(args) => list::run(&args, out),
        Command::Remove(args) => remove::run(&args, out),
        Command::Export(args) => export::run(&args, out),
        Command::Migrate(args) => migrate::run(&args, out),
        Command::Eval(args) => eval::run(&args, out),
        Command::PadReport(args) => pad_report::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Affine(args) => affine::run(&args, out),
        Command::Bench(args) => bench::run(&args, out),
        Command::Pack(args) => pack::run(&args, out),
        Command::Board(args) => board::run(&args, out),
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("keyface: {}", failure.message);
            ExitCode::from(failure.exit as u8)
        }
    }
}
