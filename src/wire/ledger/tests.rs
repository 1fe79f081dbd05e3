//! The ledger against orders of messages that were measured on a real server.

use super::*;

/// Plays a script: upper-level words are client messages, `<` marks the
/// server's. `Z` is `ZI`; `ZT` and `ZE` give other states. `h` is a Flush with a body.
fn play(script: &str) -> Ledger {
    let mut ledger = Ledger::new(TransactionStatus::Idle);
    for word in script.split_whitespace() {
        if let Some(reply) = word.strip_prefix('<') {
            let tag = reply.as_bytes()[0];
            let body = match (tag, reply.as_bytes().get(1)) {
                (b'Z', Some(state)) => vec![*state],
                (b'Z', None) => vec![b'I'],
                _ => vec![],
            };
            let frame = Frame {
                tag,
                len: body.len(),
                body: &body,
            };
            ledger
                .on_backend(frame)
                .unwrap_or_else(|e| panic!("{script}: at {word}: {e}"));
        } else {
            for &tag in word.as_bytes() {
                let (tag, body) = match tag {
                    b'h' => (b'H', &b"x"[..]),
                    tag => (tag, &b""[..]),
                };
                let len = body.len();
                ledger.on_frontend(Frame { tag, len, body });
            }
        }
    }
    ledger
}

#[track_caller]
fn quiescent(script: &str) {
    let ledger = play(script);
    assert!(ledger.is_quiescent(), "{script}: {ledger:?}");
}

#[track_caller]
fn owing(script: &str) {
    let ledger = play(script);
    assert!(!ledger.is_quiescent(), "{script}: {ledger:?}");
}

#[test]
fn requests_are_owed_until_their_reply() {
    owing("Q");
    owing("Q <T <D <C");
    quiescent("Q <T <D <C <Z");
    quiescent("Q <C <T <C <Z");
    owing("PBDES <1 <2 <T <D <C");
    quiescent("PBDES <1 <2 <T <D <C <Z");
    quiescent("PDS <1 <t <n <Z BES <2 <C <Z");
    quiescent("F <V <Z");
    quiescent("Q <I <Z");
    owing("Q <Z Q");
}

#[test]
fn a_flush_leaves_the_batch_open() {
    owing("PH <1");
    owing("PBEH <1 <2 <C");
    quiescent("PBEH <1 <2 <C S <Z");
}

#[test]
fn an_open_transaction_is_not_quiescent() {
    owing("Q <C <ZT");
    owing("Q <C <ZT Q <E <ZE");
    quiescent("Q <C <ZT Q <E <ZE Q <C <Z");
}

#[test]
fn an_error_skips_to_the_next_sync() {
    quiescent("PBES <E <Z");
    quiescent("PBEPBES <1 <2 <C <1 <E <Z");
    quiescent("PBESPBES <1 <2 <E <Z <1 <2 <C <Z");
    owing("PBE <E");
    owing("PBE <E BE");
    quiescent("PBE <E BE S <Z");
}

#[test]
fn a_simple_query_behind_a_failed_parse_gets_no_ready() {
    quiescent("PQS <E <Z");
    quiescent("P <E Q S <Z");
}

#[test]
fn copy_in_by_simple_query() {
    owing("Q <G");
    owing("Q <G ddd");
    owing("Q <G ddc");
    quiescent("Q <G ddc <C <Z");
    quiescent("Q <G df <E <Z");
    quiescent("Q <G dd <E <Z");
    quiescent("Q <G dd <E <Z ddc");
    quiescent("Qddc <G <C <Z");
    quiescent("QddcQ <G <C <Z <C <Z");
}

#[test]
fn copy_in_by_extended_query_swallows_the_sync_sent_with_it() {
    owing("PBES <1 <2 <G dc");
    quiescent("PBES <1 <2 <G ddcS <C <Z");
    quiescent("PBESddcS <1 <2 <G <C <Z");
    quiescent("PBES <1 <2 <G SSdS dc S <C <Z");
    quiescent("PBES <1 <2 <G d <E cS <Z");
    quiescent("PBESdcS <1 <2 <G <E <Z");
    quiescent("PBESdcS <1 <2 <E <Z <Z");
}

#[test]
fn a_pipeline_goes_on_behind_a_copy() {
    quiescent("PBESdcPBES <1 <2 <G <C <1 <2 <C <Z");
}

#[test]
fn replies_that_nobody_asked_for_are_refused() {
    for (asked, tag, body) in [
        ("", b'Z', &b"I"[..]),
        ("", b'1', b""),
        ("", b'C', b""),
        ("P", b'2', b""),
        ("S", b'C', b""),
        ("Q", b'Z', b"?"),
        ("Q", b'Z', b""),
    ] {
        let mut ledger = play(asked);
        let frame = Frame {
            tag,
            len: body.len(),
            body,
        };
        assert_eq!(
            ledger.on_backend(frame),
            Err(Unexpected(tag)),
            "{asked} {tag}"
        );
    }
}

#[test]
fn a_flush_with_a_body_fails_like_any_message_of_a_batch() {
    owing("h");
    quiescent("h <E S <Z");
    quiescent("hF <E S <Z");
    quiescent("PhQS <1 <E <Z");
    quiescent("P <E hh S <Z");
    quiescent("Q <G hdc <C <Z");
    quiescent("PBEhS <1 <2 <G dcS <C <Z");
}

#[test]
fn what_no_server_knows_is_owed_for_ever() {
    for script in ["z", "Qz <C <Z", "P <E z S", "PzS <E", "Q <G z <E"] {
        owing(script);
        assert!(play(script).is_ending(), "{script}");
    }
}

#[test]
fn an_error_without_a_question_is_refused() {
    for script in ["", "Q <C <Z", "PB <1 <2", "P <E"] {
        let mut ledger = play(script);
        let error = Frame {
            tag: b'E',
            len: 0,
            body: &[],
        };
        assert_eq!(ledger.on_backend(error), Err(Unexpected(b'E')), "{script}");
    }
}

#[test]
fn each_copy_of_a_query_has_an_end_of_its_own() {
    quiescent("QdcdcS <G <G <C <C <Z <Z");
    owing("QdcdcS <G <G <C <C <Z");
    quiescent("QcScS <G <G <C <C <Z <Z");
}

#[test]
fn which_syncs_a_failed_copy_has_swallowed_is_in_doubt() {
    for (script, doubt) in [
        ("PBES <1 <2 <G dc <E", Doubt::Syncs),
        ("PBE <1 <2 <G dSdc <E", Doubt::Syncs),
        ("Q <G dSdc <E <Z", Doubt::Syncs),
        ("PBES <1 <2 <G dcSQ <E", Doubt::Lasting),
        ("PBES <1 <2 <G d <E P", Doubt::Lasting),
        ("Q <G hd <E <Z", Doubt::Lasting),
        ("PBE <1 <2 <G dc <E S <Z", Doubt::None),
        ("PBES <1 <2 <G dcS <C <Z", Doubt::None),
        ("Q <G d <E <Z dc", Doubt::None),
    ] {
        assert_eq!(play(script).doubt(), doubt, "{script}");
    }
}

/// A COPY to a view fails before the server reads on: both Syncs are answered.
#[test]
fn a_marker_finds_out() {
    for rest in ["<Z <I <Z", "<Z <Z <I <Z"] {
        let mut ledger = play("PBES <1 <2 <G dcS <E");
        let mut marked = false;
        for word in rest.split(' ') {
            if ledger.is_quiescent() && !marked {
                ledger.mark();
                marked = true;
            }
            let body = if word == "<Z" { &b"I"[..] } else { b"" };
            let (tag, len) = (word.as_bytes()[1], body.len());
            let reply = ledger.on_backend(Frame { tag, len, body }).unwrap();
            assert_eq!(reply.settled == Settled::Nothing, tag == b'I', "{rest}");
        }
        assert!(ledger.is_quiescent(), "{rest}");
        assert_eq!(ledger.doubt(), Doubt::None, "{rest}");
    }
}

#[test]
fn asynchronous_messages_settle_nothing() {
    quiescent("<N <S <A");
    owing("Q <N <S <A");
    quiescent("Q <N <S <A <C <A <Z <A");
}

proptest::proptest! {
    /// Whatever either side says, the ledger neither panics nor grows beyond
    /// what the client has asked.
    #[test]
    fn any_order_is_survived(bytes in proptest::collection::vec(proptest::prelude::any::<(bool, u8)>(), 0..400)) {
        let mut ledger = Ledger::new(TransactionStatus::Idle);
        let mut asked = 0;
        for (client, tag) in bytes {
            if client {
                asked += 1;
                let body = if tag < 128 { &b""[..] } else { b"x" };
                ledger.on_frontend(Frame { tag: tag & 127, len: body.len(), body });
            } else {
                let _ = ledger.on_backend(Frame { tag, len: 1, body: b"I" });
            }
            proptest::prop_assert!(ledger.owed.len() <= asked);
        }
    }
}

#[test]
fn ends_of_copies_that_never_were_do_not_pile_up() {
    let mut ledger = play("P");
    for _ in 0..100_000 {
        ledger.on_frontend(Frame {
            tag: b'c',
            len: 0,
            body: &[],
        });
    }
    assert_eq!(ledger.owed.len(), 2);
}
