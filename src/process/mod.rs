//! Processes: the master, the worker that owns everything and dispatches events, the handover, systemd notices.
