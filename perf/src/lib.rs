//! Tools that measure burdock.
