//! Actions of the rule sets (http-request, http-response, tcp-request).
