//! The rules language beside the packaged HAProxy: the same configuration and the same requests through both.
//!
//! Each topic is a file of cases in `tests/data/rules`; `support::parity` says how they are written and what is compared.

pub mod support;

use support::parity::{Topic, compare};

macro_rules! topics {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("data/rules/", stringify!($name), ".txt"));
                compare(stringify!($name), &Topic::parse(text));
            }
        )*
    };
}

topics!(
    answers,
    auth,
    bodies,
    cookies,
    defaults,
    edits,
    errors,
    exporter,
    flow,
    order,
    patterns,
    raw,
    refused,
    settings,
    states,
    switching,
    tcp_response,
    tracking,
    variables,
    verdicts
);
