//! Sticky rules: which server a client is bound to, and what is remembered when a server has answered.
