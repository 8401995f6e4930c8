// SPDX-License-Identifier: Apache-2.0
//! The process in the guest that runs a plan and sends the record, or runs scenarios and sends what became of each.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::guest_port::GuestPort;
use super::message::{Message, ORDERS_PATH, Orders, RunOrders, Task};
use crate::lab::{Lab, LabError};
use crate::record::{Clock, Executor, RunRecord};
use crate::run::{self, Event, Options, RunError};
use crate::scenario::{self, Order, Report, Scenario, ScenarioError};

/// Exit status after a failure that was reported through the port.
const REPORTED: i32 = 1;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("read {ORDERS_PATH}: {0}")]
    Orders(io::Error),
    #[error("{ORDERS_PATH} has nothing to run")]
    NothingToRun,
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("scenario {0}")]
    Scenario(#[from] ScenarioError),
    #[error("listen for the word to stop: {0}")]
    Stop(io::Error),
    #[error("write to the port: {0}")]
    Port(io::Error),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs the plan of the orders; ends with status 0 when the record has been sent.
pub fn main() -> ! {
    let rc = match GuestPort::open() {
        Ok(mut port) => match carry_out(&mut port) {
            Ok(()) => 0,
            Err(e) => {
                eprintln!("lab guest: {e}");
                let _ = port.send(&Message::Error(e.to_string()));
                REPORTED
            }
        },
        Err(e) => {
            eprintln!("lab guest: open the port to the host: {e}");
            REPORTED
        }
    };
    std::process::exit(rc)
}

fn carry_out(port: &mut GuestPort) -> Result<(), RunnerError> {
    let orders = fs::read(ORDERS_PATH).map_err(RunnerError::Orders)?;
    let orders: Orders = serde_json::from_slice(&orders).map_err(|e| RunnerError::Orders(e.into()))?;
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop)).map_err(RunnerError::Stop)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    send(port, Message::Up(release.trim().to_owned()))?;
    match orders.task {
        Task::Run(run_orders) => {
            let record = run_plan(port, *run_orders, orders.clock, &stop)?;
            send(port, Message::Record(record))
        }
        Task::Scenarios(scenarios) => run_scenarios(port, &scenarios, &stop),
        Task::Hello => Err(RunnerError::NothingToRun),
    }
}

/// One after the other, each told as soon as it has ended.
fn run_scenarios(port: &mut GuestPort, orders: &[Order], stop: &AtomicBool) -> Result<(), RunnerError> {
    let lab = Lab::create()?;
    for Order { scenario: id, subject, text } in orders {
        let scenario = Scenario::parse(id, text)?;
        let result = scenario::run(&lab, &scenario, subject, stop);
        send(port, Message::Scenario(Box::new(Report::new(id, &scenario.name, subject, result))))?;
    }
    Ok(())
}

fn run_plan(
    port: &mut GuestPort,
    run_orders: RunOrders,
    clock: Clock,
    stop: &AtomicBool,
) -> Result<Box<RunRecord>, RunnerError> {
    let mut told = None;
    let mut progress = |event: &Event| {
        // Once a round is enough, and each message costs the guest some time.
        if let Event::Progress(p) = event
            && told.replace((p.phase, p.round)) == Some((p.phase, p.round))
        {
            return;
        }
        if let Err(e) = port.send(&Message::Run(event.clone())) {
            eprintln!("lab guest: write to the port: {e}");
        }
    };
    let options = Options {
        executor: Executor::Vm,
        clock,
        vm: Some(run_orders.environment),
        server_program: "/proc/self/exe".into(),
        stop,
        progress: &mut progress,
    };
    Ok(Box::new(run::execute(&run_orders.plan, options)?))
}

fn send(port: &mut GuestPort, message: Message) -> Result<(), RunnerError> {
    port.send(&message).map_err(RunnerError::Port)
}
