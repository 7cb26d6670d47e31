//! Health checks: scripts as values, and the sockets that run them.
