//! Lines of finished streams: `option httplog`, `httplog clf`, `tcplog`, and the default "Connect from".
