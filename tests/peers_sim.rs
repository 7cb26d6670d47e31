//! Simulation of peers: many seeds, each a group of nodes with faults of its own. `BURDOCK_SIM_SEED=<n>` replays one,
//! `BURDOCK_SIM_TRACE=1` tells what happens, `BURDOCK_SIM_SEEDS=<n>` runs more of them.

pub mod sim;

use sim::{Faults, Sim};

fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("BURDOCK_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("BURDOCK_SIM_SEEDS").unwrap_or(count)).collect(),
    }
}

fn quiet(nodes: usize) -> Faults {
    Faults {
        nodes,
        cuts: 0,
        stalls: 0,
        stall_ms_max: 0,
        refused_pct: 0,
        restarts: 0,
        table_size: 2_000,
        expire_ms: 3_600_000,
        keys: 200,
        single_writer: false,
    }
}

/// Cuts, stalls and refusals, but one writer a key and no restart: nothing may be lost, and the last write wins.
#[test]
fn cut_connections_lose_nothing() {
    for seed in seeds(90) {
        let mut sim = Sim::new(
            seed,
            Faults {
                cuts: 4 + seed % 20,
                stalls: 10,
                stall_ms_max: 8_000,
                refused_pct: 20,
                single_writer: true,
                ..quiet(2 + seed as usize % 4)
            },
        );
        sim.run_for(12_000); // everybody has learnt: a lesson carries what its teacher had when it was encoded
        sim.run(1_500, 40);
        sim.heal_and_run_until_idle(20_000);
        sim.assert_tables_equal();
        assert!(sim.entry_count() > 0, "seed {seed}: nothing was written");
    }
}

/// Everything goes wrong, restarts included. What survives is settled by one more write of each key.
#[test]
fn restarted_nodes_learn_and_agree() {
    for seed in seeds(50) {
        let mut sim = Sim::new(
            seed,
            Faults {
                cuts: seed % 15,
                stalls: 10,
                stall_ms_max: 8_000,
                refused_pct: 20,
                restarts: 5 + seed % 30,
                ..quiet(2 + seed as usize % 5)
            },
        );
        sim.run(1_500, 40);
        sim.heal_and_run_until_idle(20_000);
        sim.assert_sound();
        sim.settle_conflicts();
        sim.heal_and_run_until_idle(20_000);
        sim.assert_tables_equal();
    }
}

/// Small tables and short lives: entries are evicted and expire while they are taught.
#[test]
fn evictions_and_expiries_invent_nothing() {
    for seed in seeds(50) {
        let mut sim = Sim::new(
            seed,
            Faults {
                cuts: 5,
                stalls: 10,
                stall_ms_max: 3_000,
                restarts: 10,
                table_size: 40,
                expire_ms: 5_000,
                ..quiet(3)
            },
        );
        sim.run(1_200, 60);
        sim.heal_and_run_until_idle(20_000);
        sim.assert_tables_equal(); // all has expired
    }
}
