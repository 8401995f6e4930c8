// SPDX-License-Identifier: Apache-2.0
//! `up`, `ls`, `clean`, `subjects`: labs by hand.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use netns_lab::lab::{Lab, LabError, Listed, Scope, Standing, list, remove, sweep};
use netns_lab::probe::Probe;
use netns_lab::subject::{BuildError, Built, build, catalogue, find};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Something that was asked for is not there: as for a wrong command line.
const USAGE: u8 = 2;
/// Stopped by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;

/// Labs by hand.
#[derive(Subcommand)]
pub enum Command {
    /// Build a subject and leave it standing
    Up(Up),
    /// List the labs on this machine
    Ls,
    /// Remove labs that `up` left standing, and those whose owner died
    Clean(Clean),
    /// List the subjects and whether this machine can run them
    Subjects,
}

/// Arguments of `up`.
#[derive(Args)]
pub struct Up {
    /// Name of the subject, as `cargo xtask lab subjects` lists them
    subject: String,
}

/// Arguments of `clean`.
#[derive(Args)]
pub struct Clean {
    /// Remove labs in use, too
    #[arg(long)]
    all: bool,
    /// Remove only these
    labs: Vec<String>,
}

/// Runs one of the commands.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(arguments) => up(&arguments.subject),
        Command::Ls => ls(),
        Command::Clean(arguments) if arguments.labs.is_empty() => clean(arguments.all),
        Command::Clean(arguments) => clean_named(&arguments),
        Command::Subjects => subjects(),
    }
}

fn up(subject: &str) -> Result<ExitCode> {
    // The name first: a slip of the finger needs no root.
    if let Err(error) = find(subject) {
        eprintln!("netns-lab: {error}");
        return Ok(ExitCode::from(USAGE));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install a signal handler")?;
    }
    let lab = Lab::create()?;
    let mut built = match build(&lab, subject) {
        Ok(built) => built,
        Err(BuildError::NotRun(reason)) => bail!("{subject} cannot be built here: {reason}"),
        Err(error) => return Err(error).with_context(|| format!("build {subject}")),
    };
    if stop.load(Ordering::Relaxed) {
        eprintln!("netns-lab: interrupted; everything was taken down again");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    built.keep()?;
    describe(&lab, &mut built).or_else(ignore_closed_pipe)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(lab: &Lab, built: &mut Built) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let info = built.info();
    writeln!(out, "{}: {}", info.name, info.description)?;
    let roles = ["client", "server"];
    let mut rows = vec![["POD", "ADDRESS", "INTERFACE", "SHELL"].map(String::from)];
    for (role, pod) in roles.iter().zip(built.pods()) {
        let shell = format!("nsenter --net={} bash", pod.netns().path().display());
        rows.push([(*role).into(), pod.address().to_string(), pod.interface().into(), shell]);
    }
    for (number, node) in built.nodes().enumerate() {
        let shell = format!("nsenter --net={} bash", node.netns().path().display());
        rows.push([format!("node {}", number + 1), "-".into(), "-".into(), shell]);
    }
    if let Some(world) = built.world() {
        let shell = format!("nsenter --net={} bash", world.netns().path().display());
        rows.push(["world".into(), "-".into(), "-".into(), shell]);
    }
    table(&mut out, &rows)?;
    if let Some(agent) = built.agent() {
        writeln!(
            out,
            "The agent listens at {} and writes to {}.",
            agent.socket().display(),
            agent.log().display()
        )?;
        writeln!(out, "It takes manifests in {}.", agent.policy_dir().display())?;
        writeln!(
            out,
            "A shell whose sockets it translates: echo $$ > {}/cgroup.procs",
            agent.seat().path().display()
        )?;
    }
    let pair = built.pair();
    match pair.dial_port {
        Some(port) => writeln!(out, "The client dials {}:{port}.", pair.dial)?,
        None => writeln!(out, "The client dials {}.", pair.dial)?,
    }
    writeln!(out, "It stays until `cargo xtask lab clean {}`.", lab.name())
}

fn ls() -> Result<ExitCode> {
    let labs = list()?;
    let mut out = io::stdout().lock();
    if labs.is_empty() {
        writeln!(out, "No labs.").or_else(ignore_closed_pipe)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["LAB", "SUBJECT", "PODS", "AGE", "OWNER"].map(String::from)];
    rows.extend(labs.iter().flat_map(lines));
    table(&mut out, &rows).or_else(ignore_closed_pipe)?;
    Ok(ExitCode::SUCCESS)
}

/// One line per subject of a lab; one line for a lab without any.
fn lines(lab: &Listed) -> Vec<[String; 5]> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (age, owner) = match &lab.state {
        Some(state) => {
            let owner = match lab.standing {
                Standing::Alive => format!("alive (pid {})", state.owner_pid),
                Standing::Kept => "kept".into(),
                Standing::Dead => "dead".into(),
            };
            (age(now.saturating_sub(state.created_unix_s)), owner)
        }
        None => ("?".into(), "dead".into()),
    };
    let line = |subject: &str, pods: String| {
        [lab.name.clone(), subject.to_owned(), pods, age.clone(), owner.clone()]
    };
    match lab.state.as_ref().map_or(&[][..], |state| &state.subjects) {
        [] => vec![line("-", format!("{} namespaces", lab.namespaces.len()))],
        subjects => subjects
            .iter()
            .map(|subject| {
                let pods = subject.pods.iter().map(|pod| pod.address.to_string()).collect::<Vec<_>>();
                line(&subject.name, pods.join(" "))
            })
            .collect(),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn clean(all: bool) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot.into());
    }
    let swept = sweep(if all { Scope::All } else { Scope::Kept });
    let mut out = io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").or_else(ignore_closed_pipe);
    for removed in &swept.removed {
        say(format!("Removed {removed}."))?;
    }
    for left in &swept.left {
        say(format!("Left alone lab {left}, which is in use (`--all` removes it)."))?;
    }
    if swept.removed.is_empty() && swept.errors.is_empty() {
        say("Nothing to remove.".into())?;
    }
    for error in &swept.errors {
        eprintln!("netns-lab: {error}");
    }
    Ok(if swept.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn clean_named(arguments: &Clean) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot.into());
    }
    let known = list()?;
    for name in &arguments.labs {
        match known.iter().find(|lab| lab.name == *name) {
            None => bail!("there is no lab {name}; `cargo xtask lab ls` lists them"),
            Some(lab) if lab.standing == Standing::Alive && !arguments.all => {
                bail!("lab {name} is in use (`--all` removes it all the same)")
            }
            Some(_) => {}
        }
    }
    for name in &arguments.labs {
        remove(name)?;
        writeln!(io::stdout(), "Removed lab {name}.").or_else(ignore_closed_pipe)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn subjects() -> Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let probe = Probe::default();
    let mut out = io::stdout().lock();
    for spec in catalogue() {
        let state = if !root {
            "?   unknown without root".to_owned()
        } else {
            match probe.check(&spec.needs) {
                Ok(()) => "yes".into(),
                Err(reason) => format!("no  {reason}"),
            }
        };
        let line = writeln!(out, "{:<20} {state}\n    {}", spec.name, spec.description);
        line.or_else(ignore_closed_pipe)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Whoever reads the output may stop reading it: `cargo xtask lab subjects | head`.
fn ignore_closed_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(String::from));
        let mut out = Vec::new();
        table(&mut out, &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     B\nlong  x\n");
    }

    #[test]
    fn ages_have_the_unit_that_reads_best() {
        assert_eq!(
            [5, 119, 120, 7199, 7200, 200_000].map(age),
            ["5 s", "119 s", "2 min", "119 min", "2 h", "2 d"]
        );
    }
}
