// SPDX-License-Identifier: Apache-2.0
//! Each kind of traffic over real namespaces, with a real server process: what is measured, and what happens when a
//! path or the server dies. Needs root.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netns_lab::lab::{ControlGroup, Lab};
use netns_lab::pair::Pair;
use netns_lab::plan::{Phase, Placement, WorkloadKind, WorkloadSpec};
use netns_lab::record::Cell;
use netns_lab::subject::{Built, build};
use netns_lab::workload::{
    Close, Measured, Outcome, PhaseError, PhaseOptions, Scheduler, Turn, measure, online,
};

/// Ends of two tests at one CPU would disturb each other; what is asserted of time is then not theirs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn built(lab: &Lab, name: &str) -> Built {
    build(lab, name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn lab() -> Lab {
    Lab::create().expect("the tests of the traffic need root")
}

fn phase(kind: WorkloadKind, request: u32, response: u32, transactions: u32, rounds: u32) -> Phase {
    let workload = WorkloadSpec {
        kind,
        request_bytes: request,
        response_bytes: response,
        connections: 1,
        transactions_per_slice: transactions,
    };
    Phase { workload, placement: Placement::OneCore, rounds, warmup_rounds: 1 }
}

fn options(stop: &AtomicBool) -> PhaseOptions<'_> {
    PhaseOptions {
        server_program: Path::new(env!("CARGO_BIN_EXE_netns-lab")),
        scheduler: Scheduler::permitted(),
        close: Close::Reset,
        // Shorter than in a run, longer than five lost datagrams in a row.
        stall: Duration::from_millis(5_500),
        stop,
    }
}

fn run(
    phase: &Phase,
    subjects: &[Measured<'_>],
    turn: &mut dyn FnMut(Turn<'_>),
) -> Result<Outcome, PhaseError> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    measure(phase, subjects, options(&AtomicBool::new(false)), turn)
}

/// Both subjects, and that what was counted is what was asked for.
fn plausible_cells(phase: &Phase) -> Vec<Cell> {
    let lab = lab();
    let (veth, loopback) = (built(&lab, "veth"), built(&lab, "loopback"));
    let subjects =
        [Measured { name: "veth", pair: veth.pair() }, Measured { name: "loopback", pair: loopback.pair() }];
    let mut turns = 0;
    let outcome = run(phase, &subjects, &mut |_| turns += 1).unwrap();
    assert_eq!(outcome.failed, []);
    assert!(!outcome.interrupted);
    assert_eq!(turns, 2 * (phase.rounds + phase.warmup_rounds));
    assert_eq!(
        outcome.cells.iter().map(|cell| cell.subject.as_str()).collect::<Vec<_>>(),
        ["veth", "loopback"]
    );
    for cell in &outcome.cells {
        let per_slice = phase.workload.transactions_per_slice * u32::from(phase.workload.connections);
        assert_eq!(cell.slices.len() as u32, phase.rounds);
        let counted: u64 = cell.histogram.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, u64::from(per_slice * phase.rounds));
        assert!(cell.histogram.is_sorted());
        assert!(cell.context_switches > 0);
        assert_eq!(cell.lost, 0);
        for (round, slice) in (0..).zip(&cell.slices) {
            assert_eq!((slice.round, slice.transactions), (round, per_slice));
            assert!(slice.min_ns > 500 && slice.min_ns <= slice.p10_ns && slice.p10_ns <= slice.p50_ns);
            assert!(slice.p50_ns <= slice.elapsed_ns, "{slice:?}");
            assert!(slice.elapsed_ns < 10_000_000_000 && slice.cpu_ns > 0, "{slice:?}");
            if phase.placement == Placement::OneCore {
                // Two ends on one core cannot use more of it than there is; 2 ms are for the clocks' edges.
                assert!(slice.cpu_ns < slice.elapsed_ns + 2_000_000, "{slice:?}");
            }
        }
    }
    outcome.cells
}

#[test]
fn subjects_of_several_control_groups_are_measured_as_one() {
    let lab = lab();
    let (veth, loopback) = (built(&lab, "veth"), built(&lab, "loopback"));
    let groups = ["a", "b"].map(|place| ControlGroup::create(&lab, place).unwrap());
    let of = |built: &Built, group: Option<&ControlGroup>| {
        let pair = built.pair();
        Pair {
            client: pair.client.try_clone().unwrap(),
            server: pair.server.try_clone().unwrap(),
            seat: group.map(|group| group.seat().clone()),
            client_interface: pair.client_interface.clone(),
            ..*pair
        }
    };
    // Of the last two, who have one group, the ports are the same: they are in different namespaces.
    let pairs = [of(&veth, None), of(&veth, Some(&groups[0])), of(&loopback, Some(&groups[0]))];
    for pair in &pairs[1..] {
        let inside = pair.client_origin().run(|| fs::read_to_string("/proc/thread-self/cgroup")).unwrap();
        assert!(inside.unwrap().trim_end().ends_with("-a"));
    }
    for kind in [WorkloadKind::TcpRr, WorkloadKind::TcpCrr, WorkloadKind::UdpRr] {
        let mut phase = phase(kind, 1, 1, 10, 3);
        phase.workload.connections = 2;
        // The first two share a server's address, so they take their turns alone.
        for pairs in [&pairs[..1], &pairs[1..]] {
            let subjects: Vec<_> = pairs.iter().map(|pair| Measured { name: "x", pair }).collect();
            let outcome = run(&phase, &subjects, &mut |_| {}).unwrap();
            assert_eq!(outcome.failed, [], "{kind}");
            assert!(outcome.cells.iter().all(|cell| cell.slices.len() == 3), "{kind}");
            assert_eq!(outcome.cells.len(), pairs.len());
        }
        let mixed =
            [Measured { name: "veth", pair: &pairs[0] }, Measured { name: "loopback", pair: &pairs[2] }];
        assert_eq!(run(&phase, &mixed, &mut |_| {}).unwrap().cells.len(), 2);
    }
}

#[test]
fn tcp_round_trips_are_timed_one_by_one() {
    for cell in plausible_cells(&phase(WorkloadKind::TcpRr, 1, 1, 50, 4)) {
        // Each end waits once per transaction.
        assert!(cell.context_switches >= 2 * 4 * 40, "{}", cell.context_switches);
    }
}

#[test]
fn messages_larger_than_any_buffer_go_through_whole() {
    plausible_cells(&phase(WorkloadKind::TcpRr, 100_000, 300_000, 3, 2));
}

#[test]
fn tcp_connections_come_and_go_and_leave_no_time_wait() {
    let lab = lab();
    let veth = built(&lab, "veth");
    let subject = [Measured { name: "veth", pair: veth.pair() }];
    let outcome = run(&phase(WorkloadKind::TcpCrr, 64, 1024, 30, 3), &subject, &mut |_| {}).unwrap();
    assert_eq!(outcome.cells[0].slices.len(), 3, "{:?}", outcome.failed);
    for namespace in [&veth.pair().client, &veth.pair().server] {
        let table = namespace.run(|| fs::read_to_string("/proc/thread-self/net/tcp")).unwrap().unwrap();
        // State 06 is TIME_WAIT.
        let waiting = table.lines().filter(|line| line.split_whitespace().nth(3) == Some("06")).count();
        assert_eq!(waiting, 0, "{table}");
    }
}

#[test]
fn connections_of_tcp_crr_are_measured_on_both_subjects() {
    plausible_cells(&phase(WorkloadKind::TcpCrr, 1, 1, 20, 3));
}

#[test]
fn bulk_is_acknowledged_block_by_block() {
    plausible_cells(&phase(WorkloadKind::TcpStream, 1 << 20, 1, 3, 3));
}

#[test]
fn datagrams_of_all_sizes_are_answered() {
    plausible_cells(&phase(WorkloadKind::UdpRr, 1, 1, 50, 3));
    plausible_cells(&phase(WorkloadKind::UdpRr, 65_507, 1, 5, 2));
    plausible_cells(&phase(WorkloadKind::UdpRr, 3, 65_507, 5, 2));
}

#[test]
fn many_connections_run_at_the_same_time_and_count_together() {
    for kind in [WorkloadKind::TcpRr, WorkloadKind::TcpCrr, WorkloadKind::UdpRr] {
        let mut phase = phase(kind, 16, 16, 10, 3);
        phase.workload.connections = 20;
        plausible_cells(&phase);
    }
}

#[test]
fn two_cores_are_used_where_there_are_two() {
    let mut phase = phase(WorkloadKind::TcpRr, 1, 1, 30, 3);
    phase.placement = Placement::TwoCores;
    if online().unwrap().len() > 1 {
        plausible_cells(&phase);
        return;
    }
    let lab = lab();
    let loopback = built(&lab, "loopback");
    let subject = [Measured { name: "loopback", pair: loopback.pair() }];
    let error = run(&phase, &subject, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("ask for 1 core"), "{error}");
}

/// A pair whose client sends to `port` of loopback, where the test itself listens.
fn diverted(built: &Built, port: u16) -> Pair {
    let pair = built.pair();
    Pair {
        client: pair.client.try_clone().unwrap(),
        server: pair.server.try_clone().unwrap(),
        seat: None,
        client_interface: pair.client_interface.clone(),
        listen: pair.listen,
        dial: Ipv4Addr::LOCALHOST.into(),
        dial_port: Some(port),
    }
}

#[test]
fn a_lost_datagram_is_counted_and_its_late_answer_is_not_taken_for_the_next_one() {
    let lab = lab();
    let loopback = built(&lab, "loopback");
    let socket = loopback.pair().server.run(|| UdpSocket::bind("127.0.0.1:0")).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let pair = diverted(&loopback, socket.local_addr().unwrap().port());
    let subject = [Measured { name: "deaf", pair: &pair }];
    let mut phase = phase(WorkloadKind::UdpRr, 8, 8, 10, 1);
    phase.warmup_rounds = 0;
    let served = std::thread::spawn(move || {
        // The fourth request is not answered; when it comes again it is answered twice.
        let mut buffer = [0; 64];
        for count in 1..=11 {
            let (size, peer) = socket.recv_from(&mut buffer).unwrap();
            let answers = match count {
                4 => 0,
                5 => 2,
                _ => 1,
            };
            for _ in 0..answers {
                socket.send_to(&buffer[..size], peer).unwrap();
            }
        }
    });
    let outcome = run(&phase, &subject, &mut |_| {}).unwrap();
    served.join().unwrap();
    let cell = &outcome.cells[0];
    assert_eq!((cell.lost, cell.slices[0].transactions), (1, 10));
    // Exactly one waited for the limit: the answer that came twice did not displace another.
    let slow: u64 = cell.histogram.iter().filter(|(ns, _)| *ns >= 1_000_000_000).map(|(_, n)| n).sum();
    assert_eq!(slow, 1, "{:?}", cell.histogram);
}

#[test]
fn a_subject_whose_server_ignores_it_is_left_out_and_the_others_go_on() {
    let lab = lab();
    let (loopback, veth) = (built(&lab, "loopback"), built(&lab, "veth"));
    let deaf = loopback.pair().server.run(|| UdpSocket::bind("127.0.0.1:0")).unwrap().unwrap();
    let pair = diverted(&loopback, deaf.local_addr().unwrap().port());
    let subjects = [Measured { name: "deaf", pair: &pair }, Measured { name: "veth", pair: veth.pair() }];
    let outcome = run(&phase(WorkloadKind::UdpRr, 8, 8, 10, 2), &subjects, &mut |_| {}).unwrap();
    assert_eq!(outcome.cells.iter().map(|cell| cell.subject.as_str()).collect::<Vec<_>>(), ["veth"]);
    assert_eq!(outcome.cells[0].slices.len(), 2);
    let [failed] = &outcome.failed[..] else { panic!("{:?}", outcome.failed) };
    assert_eq!(failed.subject, "deaf");
    assert!(
        failed.reason.contains("UDP_RR, 1 core") && failed.reason.contains("no answer"),
        "{}",
        failed.reason
    );
}

#[test]
fn a_connection_that_is_never_answered_is_given_up_and_the_others_go_on() {
    let lab = lab();
    let (loopback, veth) = (built(&lab, "loopback"), built(&lab, "veth"));
    // The kernel completes the handshake, nobody accepts the connection.
    let mute = loopback.pair().server.run(|| TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    let pair = diverted(&loopback, mute.local_addr().unwrap().port());
    let subjects = [Measured { name: "mute", pair: &pair }, Measured { name: "veth", pair: veth.pair() }];
    for kind in [WorkloadKind::TcpRr, WorkloadKind::TcpCrr] {
        let begin = Instant::now();
        let outcome = run(&phase(kind, 1, 1, 10, 2), &subjects, &mut |_| {}).unwrap();
        assert_eq!(outcome.cells.iter().map(|cell| cell.subject.as_str()).collect::<Vec<_>>(), ["veth"]);
        assert!(outcome.failed[0].reason.contains("no answer in time"), "{}", outcome.failed[0].reason);
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_refused_connection_is_the_subjects_own_reason() {
    let lab = lab();
    let loopback = built(&lab, "loopback");
    let pair = diverted(&loopback, 1);
    let subjects =
        [Measured { name: "closed", pair: &pair }, Measured { name: "loopback", pair: loopback.pair() }];
    // Both listen at the same address of the same namespace: the second is refused that, and says so.
    let outcome = run(&phase(WorkloadKind::TcpRr, 1, 1, 10, 2), &subjects, &mut |_| {}).unwrap();
    let reason =
        |name: &str| outcome.failed.iter().find(|failed| failed.subject == name).unwrap().reason.clone();
    assert!(reason("closed").contains("Connection refused"), "{}", reason("closed"));
    assert!(reason("loopback").contains("listen at 127.0.0.1:9001"), "{}", reason("loopback"));
    assert!(outcome.cells.is_empty());
}

#[test]
fn the_servers_death_ends_the_phase_with_an_error_and_not_in_a_hang() {
    let lab = lab();
    let veth = built(&lab, "veth");
    let subject = [Measured { name: "veth", pair: veth.pair() }];
    for kind in WorkloadKind::ALL {
        let started = Instant::now();
        let mut killed = false;
        let result = run(&phase(kind, 100, 100, 50, 200), &subject, &mut |turn| {
            if turn.round == 5 && !killed {
                killed = true;
                kill_server();
            }
        });
        assert!(killed);
        let error = result.expect_err("a phase without a server");
        assert!(matches!(error, PhaseError::Server(_)), "{kind}: {error}");
        assert!(started.elapsed() < Duration::from_secs(20), "{kind}");
    }
}

/// Kills the one `serve` child of this process: tests that start one hold [`ONE_AT_A_TIME`].
fn kill_server() {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children: Vec<i32> = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>())
        .filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0serve\0")))
        .collect();
    let [child] = children[..] else { panic!("servers: {children:?}") };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_stop_ends_after_the_current_slice_and_keeps_what_there_is() {
    let lab = lab();
    let loopback = built(&lab, "loopback");
    let subject = [Measured { name: "loopback", pair: loopback.pair() }];
    let stop = AtomicBool::new(false);
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let outcome =
        measure(&phase(WorkloadKind::TcpRr, 1, 1, 10, 1000), &subject, options(&stop), &mut |turn| {
            if turn.round == 7 {
                stop.store(true, Ordering::Relaxed);
            }
        })
        .unwrap();
    assert!(outcome.interrupted);
    // Rounds 0 to 7, of which the first warms up.
    assert_eq!(outcome.cells[0].slices.len(), 7);
}

#[test]
fn a_server_without_an_order_refuses_with_one_line_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_netns-lab")).arg("serve").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("order"), "{said}");
}
