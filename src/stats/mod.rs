//! What is shown of the counters: CSV, info lines.
