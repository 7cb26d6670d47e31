//! The event loop's parts: tokens, timers, buffers, clock.
