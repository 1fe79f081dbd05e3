//! The portals that a client has bound, and what executing them does.

use foldhash::HashMap;

use crate::state::tracker::StatementEffects;

/// Names that are longer are the same to the server if they begin the same
/// (NAMEDATALEN less its zero).
const MAX_NAME: usize = 63;

/// By name; the unnamed one, which most clients use alone, is not looked up.
#[derive(Debug, Default)]
pub(super) struct Portals {
    unnamed: Option<StatementEffects>,
    named: HashMap<Box<[u8]>, StatementEffects>,
}

impl Portals {
    pub(super) fn bind(&mut self, name: &[u8], digest: StatementEffects) {
        match key(name) {
            b"" => self.unnamed = Some(digest),
            name => drop(self.named.insert(name.into(), digest)),
        }
    }

    /// `None` for one that no Bind made.
    pub(super) fn get(&self, name: &[u8]) -> Option<&StatementEffects> {
        match key(name) {
            b"" => self.unnamed.as_ref(),
            name => self.named.get(name),
        }
    }

    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }
}

fn key(name: &[u8]) -> &[u8] {
    name.get(..MAX_NAME).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assert_linear;

    #[test]
    fn a_portal_is_found_without_a_look_at_the_others() {
        let all = |count: usize| (0..count).map(usize::to_ne_bytes).collect::<Vec<_>>();
        assert_linear("portals", 1024, all, |names| {
            let mut portals = Portals::default();
            for name in &*names {
                portals.bind(name, StatementEffects::default());
            }
            assert!(names.iter().all(|name| portals.get(name).is_some()));
        });
    }

    #[test]
    fn names_that_the_server_cuts_alike_are_one() {
        let mut portals = Portals::default();
        let long = [b'x'; 80];
        portals.bind(&long, StatementEffects::unknown());
        portals.bind(b"", StatementEffects::default());
        assert!(
            portals
                .get(&long[..63])
                .is_some_and(StatementEffects::hides)
        );
        assert!(portals.get(&long[..62]).is_none());
        assert!(portals.get(b"").is_some_and(|unnamed| !unnamed.hides()));
        portals.clear();
        assert!(portals.get(b"").is_none() && portals.get(&long).is_none());
    }
}
