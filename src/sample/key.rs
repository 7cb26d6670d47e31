//! Values as keys of stick tables.
