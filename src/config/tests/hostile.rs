//! Any text at all: no panic, and no secret in what is said about it.

use proptest::prelude::*;

use super::super::keys::SECTIONS;
use super::super::load;
use super::{CANARY, MINIMAL, Room};
use crate::cli::config::show;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_file_panics(text in "\\PC*") {
        drop(load(&Room::new(&text).sources));
    }

    #[test]
    fn no_line_panics(
        section in prop::sample::select(vec!["", "[listen]", "[upstreams.cluster]", "[[users]]", "[[pools]]", "[pooling]", "[databases.d]", "[limits]"]),
        key in prop::sample::select(SECTIONS.iter().flat_map(|s| s.keys).map(|key| key.name).collect::<Vec<_>>()),
        value in "[0-9]{0,30}|\"[ -~]{0,12}\"|\\[.{0,9}\\]|\\{.{0,9}\\}|[+-]?0x[0-9a-f]{1,40}|\\PC{0,12}",
    ) {
        drop(load(&Room::new(&format!("{section}\n{key} = {value}\n")).sources));
    }

    #[test]
    fn no_variable_panics(
        name in "PGSLUICE_[A-Z_]{0,20}|PGSLUICE_(USERS|POOLS|UPSTREAMS|LIMITS)(__[A-Z0-9_é]{0,9}){0,4}|D(ATABASE_URL|B_POOL_URL|B_SSL_MODE|B_PORT)",
        value in "\\PC{0,30}|postgres://[ -~]{0,30}",
    ) {
        drop(load(&Room::new(MINIMAL).env(&name, &value).sources));
    }

    #[test]
    fn no_secret_is_seen(
        lead in "[/?:@%=&#]{0,3}",
        tail in "[ -~]{0,8}",
        key in prop::sample::select(vec!["password", "password = ", "sslkey", "pasword", "upstream_password", "x.password"]),
    ) {
        let text = format!("{MINIMAL}{key} = \"{CANARY}{tail}\n");
        let room = Room::new(&text).env("DATABASE_URL", &format!("postgres://u:{lead}{CANARY}{tail}@h/d?sslmode=disable"));
        let (_, out, err) = room.check();
        let (mut shown, mut words) = (Vec::new(), Vec::new());
        show(&room.sources, false, &mut shown, &mut words).unwrap();
        let shown = room.clean(shown) + &room.clean(words);
        let seen = format!("{out}{err}{shown}{:?}", load(&room.sources));
        prop_assert!(!seen.contains(CANARY), "{}", seen);
    }
}
