//! The stats socket: command parsing and the commands.
