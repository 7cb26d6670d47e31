//! The variables of a session as they pass to another process, by name: slots belong to one reading of one configuration.
//!
//! Not here: how they travel (`process::line`), how values are kept (`vars`).

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::registry::Registry;
use super::value::Value;
use super::vars::{Scope, VarScopes, VarStore, VarTarget};

/// A variable and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarMemory {
    /// Its name with its scope, `sess.foo`.
    pub name: String,
    /// A number for the type of its value.
    pub kind: u8,
    /// Its value: text as it is, integers in network order.
    pub bytes: Vec<u8>,
}

const BOOL: u8 = 0;
const INT: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 3;
const STR: u8 = 4;
const BIN: u8 = 5;
const METHOD: u8 = 6;

impl VarMemory {
    fn new(name: String, value: Value<'_>) -> VarMemory {
        let (kind, bytes) = match value {
            Value::Bool(value) => (BOOL, vec![u8::from(value)]),
            Value::Int(value) => (INT, value.to_be_bytes().to_vec()),
            Value::Ipv4(address) => (IPV4, address.octets().to_vec()),
            Value::Ipv6(address) => (IPV6, address.octets().to_vec()),
            Value::Str(bytes) => (STR, bytes.to_vec()),
            Value::Bin(bytes) => (BIN, bytes.to_vec()),
            Value::Method(bytes) => (METHOD, bytes.to_vec()),
        };
        VarMemory { name, kind, bytes }
    }

    /// `None`: no value looks like this.
    fn value(&self) -> Option<Value<'_>> {
        let bytes = self.bytes.as_slice();
        Some(match self.kind {
            BOOL => Value::Bool(*bytes.first()? != 0),
            INT => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
            IPV4 => Value::Ipv4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            IPV6 => Value::Ipv6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            STR => Value::Str(bytes),
            BIN => Value::Bin(bytes),
            METHOD => Value::Method(bytes),
            _ => return None,
        })
    }
}

impl Registry {
    /// What a session's variables hold.
    pub fn remember_session(&self, vars: &VarStore) -> Vec<VarMemory> {
        let names = self.variable_names(Scope::Sess);
        let slots = (0..=u16::MAX).zip(names.iter());
        slots
            .filter_map(|(slot, name)| {
                let value = vars.value(slot)?;
                Some(VarMemory::new(
                    format!("{}.{name}", Scope::Sess.word()),
                    value,
                ))
            })
            .collect()
    }

    /// A session's variables with these values, as far as the limits have room for them. What the configuration does not name (any more) nobody
    /// can ask for.
    pub fn recall_session(&self, memories: &[VarMemory]) -> VarStore {
        let vars = RefCell::new(self.session_vars());
        let scopes = VarScopes {
            process: Some(self),
            session: Some(&vars),
            stream: None,
        };
        for memory in memories {
            let var = self.known_variable(&memory.name);
            let var = var.filter(|var| var.scope == Scope::Sess);
            if let (Some(var), Some(value)) = (var, memory.value()) {
                scopes.set(&VarTarget::always(var), value);
            }
        }
        vars.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_types_are_recalled_by_name() {
        let (old, new) = (Registry::new(), Registry::new());
        let values = [
            Value::Bool(true),
            Value::Int(-5),
            Value::Ipv4(Ipv4Addr::LOCALHOST),
            Value::Ipv6(Ipv6Addr::LOCALHOST),
            Value::Str(b"text"),
            Value::Bin(&[0, 255]),
            Value::Method(b"PUT"),
        ];
        let mut store = old.session_vars();
        old.variable(b"sess.unset").unwrap();
        for (index, value) in values.into_iter().enumerate() {
            let var = old.variable(format!("sess.v{index}").as_bytes()).unwrap();
            store.put(var.slot, value);
        }
        let memories = old.remember_session(&store);
        assert_eq!(memories.len(), values.len());
        // The new configuration names them in another order, and one not at all.
        let order = [6, 4, 2, 0, 1, 3];
        let slots = order.map(|index| {
            let name = format!("sess.v{index}");
            (new.variable(name.as_bytes()).unwrap().slot, values[index])
        });
        let recalled = new.recall_session(&memories);
        for (slot, value) in slots {
            assert_eq!(recalled.value(slot), Some(value));
        }
        assert_eq!(new.remember_session(&recalled).len(), order.len());
    }

    #[test]
    fn what_is_no_value_or_no_session_variable_is_left_out() {
        let registry = Registry::new();
        for name in ["sess.a", "sess.b", "proc.p"] {
            registry.variable(name.as_bytes()).unwrap();
        }
        let memory = |name: &str, kind, bytes: &[u8]| VarMemory {
            name: name.into(),
            kind,
            bytes: bytes.to_vec(),
        };
        let recalled = registry.recall_session(&[
            memory("sess.a", INT, b"short"),
            memory("sess.b", 99, b"?"),
            memory("proc.p", STR, b"x"),
            memory("nothing", STR, b"x"),
        ]);
        assert_eq!(registry.remember_session(&recalled), []);
        assert_eq!(registry.vars_bytes(), 0);
    }
}
