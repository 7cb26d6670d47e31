//! Simulation of peers: many seeds, each a group of nodes with faults of its own, and the proof that it would find what
//! is wrong: each of the mistakes of `peers::fault` is planted and found.
//!
//! A seed that fails is named and replays exactly: `BURDOCK_SIM_SEED=<n>` runs it alone, `BURDOCK_SIM_TRACE=1` tells what
//! happens, `BURDOCK_SIM_SEEDS=<n>` runs so many of each scenario.

pub mod sim;

use burdock::peers::fault::Fault;
use sim::{Faults, Sim};

/// Seeds that a planted mistake may take to be found.
const SEEDS_TO_FIND: u64 = 1_000;

fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("BURDOCK_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("BURDOCK_SIM_SEEDS").unwrap_or(count)).collect(),
    }
}

fn quiet(nodes: usize, planted: Option<Fault>) -> Faults {
    Faults {
        nodes,
        cuts: 0,
        stalls: 0,
        stall_ms_max: 0,
        refused_pct: 0,
        restarts: 0,
        reloads: 0,
        table_size: 2_000,
        expire_ms: 3_600_000,
        keys: 200,
        single_writer: false,
        planted,
    }
}

/// Cuts, stalls and refusals, but one writer a key and no restart: nothing may be lost, and the last write wins.
fn cut_connections(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            cuts: 4 + seed % 20,
            stalls: 10,
            stall_ms_max: 8_000,
            refused_pct: 20,
            single_writer: true,
            ..quiet(2 + seed as usize % 4, planted)
        },
    );
    sim.run_for(12_000); // everybody has learnt: a lesson carries what its teacher had when it was encoded
    sim.run(1_500, 40);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal();
    sim.assert_last_writes_won();
    assert!(sim.entry_count() > 0, "seed {seed}: nothing was written");
}

/// Processes are replaced under all that, and leave their tables to their successors: nothing may be lost either.
fn replaced_processes(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            cuts: seed % 10,
            stalls: 10,
            stall_ms_max: 8_000,
            refused_pct: 20,
            reloads: 40 + seed % 100,
            single_writer: true,
            ..quiet(2 + seed as usize % 4, planted)
        },
    );
    sim.run_for(12_000);
    sim.run(1_500, 40);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal();
    sim.assert_last_writes_won();
    assert!(sim.entry_count() > 0, "seed {seed}: nothing was written");
}

/// A process is replaced while nothing happens: nobody is told anything twice.
fn quiet_reload(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            single_writer: true,
            ..quiet(2, planted)
        },
    );
    sim.run_for(12_000);
    sim.run(400, 50);
    sim.heal_and_run_until_idle(20_000);
    sim.reload(0);
    sim.heal_and_run_until_idle(20_000);
    for node in 0..2 {
        // Both sessions are new.
        let updates = sim.updates_received(node);
        assert_eq!(updates, 0, "seed {seed}: n{node} was told again");
    }
    sim.assert_tables_equal();
    assert!(sim.entry_count() > 0, "seed {seed}: nothing was written");
}

/// Everything goes wrong, restarts included. What survives is settled by one more write of each key.
fn restarted_nodes(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            cuts: seed % 15,
            stalls: 10,
            stall_ms_max: 8_000,
            refused_pct: 20,
            restarts: 5 + seed % 30,
            ..quiet(2 + seed as usize % 5, planted)
        },
    );
    sim.run(1_500, 40);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_sound();
    sim.settle_conflicts();
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal();
}

/// Small tables and short lives: entries are evicted and expire while they are taught.
fn evictions_and_expiries(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            cuts: 5,
            stalls: 10,
            stall_ms_max: 3_000,
            restarts: 10,
            table_size: 40,
            expire_ms: 5_000,
            ..quiet(3, planted)
        },
    );
    sim.run(1_200, 60);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal(); // all has expired
}

/// A node joins late, quietly: it learns all that the others have.
fn late_node(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            single_writer: true,
            ..quiet(2 + seed as usize % 3, planted)
        },
    );
    sim.run_for(12_000);
    sim.run(200, 50);
    sim.run_for(5_000);
    sim.restart(0);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal();
    sim.assert_last_writes_won();
    assert!(sim.entry_count() > 0, "seed {seed}: nothing was written");
}

/// Of two nodes one restarts and is written to while it learns: what its teacher knows of these keys is older.
fn busy_learner(seed: u64, planted: Option<Fault>) {
    let mut sim = Sim::new(
        seed,
        Faults {
            single_writer: true,
            keys: 30,
            ..quiet(2, planted)
        },
    );
    sim.run_for(12_000);
    sim.run(200, 50);
    sim.run_for(5_000);
    sim.restart(0);
    sim.run(300, 50);
    sim.heal_and_run_until_idle(20_000);
    sim.assert_tables_equal();
    sim.assert_last_writes_won();
}

#[test]
fn cut_connections_lose_nothing() {
    for seed in seeds(60) {
        cut_connections(seed, None);
    }
}

#[test]
fn restarted_nodes_learn_and_agree() {
    for seed in seeds(40) {
        restarted_nodes(seed, None);
    }
}

#[test]
fn evictions_and_expiries_invent_nothing() {
    for seed in seeds(40) {
        evictions_and_expiries(seed, None);
    }
}

#[test]
fn replaced_processes_go_on_where_their_predecessors_were() {
    for seed in seeds(40) {
        replaced_processes(seed, None);
    }
}

#[test]
fn a_reload_tells_nothing_twice() {
    for seed in seeds(20) {
        quiet_reload(seed, None);
    }
}

#[test]
fn a_late_node_learns_everything() {
    for seed in seeds(40) {
        late_node(seed, None);
    }
}

#[test]
fn a_learner_keeps_what_is_newer_here() {
    for seed in seeds(40) {
        busy_learner(seed, None);
    }
}

/// What the simulation says of a planted mistake, and the seed that found it.
fn found(fault: Fault) -> Option<(u64, &'static str, String)> {
    type Scenario = fn(u64, Option<Fault>);
    let scenarios: [(&str, Scenario); 5] = [
        ("busy learner", busy_learner),
        ("late node", late_node),
        ("cut connections", cut_connections),
        ("restarted nodes", restarted_nodes),
        ("replaced processes", replaced_processes),
    ];
    for seed in 0..SEEDS_TO_FIND / scenarios.len() as u64 {
        for (name, scenario) in scenarios {
            if let Err(panic) = std::panic::catch_unwind(|| scenario(seed, Some(fault))) {
                let text = panic.downcast_ref::<String>().cloned();
                return Some((seed, name, text.unwrap_or_default()));
            }
        }
    }
    None
}

/// Each mistake is found, and what is reported names the seed.
#[test]
#[cfg(debug_assertions)]
fn planted_mistakes_are_found() {
    for fault in Fault::ALL {
        let Some((seed, scenario, text)) = found(fault) else {
            panic!("{fault:?} is not found within {SEEDS_TO_FIND} seeds");
        };
        println!("{fault:?}: {scenario}, {text}");
        assert!(text.contains(&format!("seed {seed}:")), "{fault:?}: {text}");
    }
}
