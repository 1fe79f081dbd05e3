//! What a client prepares, it pays for once: no message goes through all of it.

use super::*;
use crate::tests::assert_linear;

const FEW: usize = 256;
const UNLIMITED: usize = 1 << 40;

fn name(number: usize) -> Vec<u8> {
    format!("s{number}").into_bytes()
}

#[test]
fn sql_that_names_statements_is_not_compared_with_each_time_it_comes() {
    let many = |count: usize| {
        let mut desk = Desk::new(UNLIMITED);
        for number in 0..count {
            desk.parse(&name(number), b"one");
        }
        (desk, count)
    };
    assert_linear("aligned", FEW, many, |(desk, count)| {
        for number in 0..*count {
            desk.align(true);
            desk.parse(&name(*count + number), b"two");
        }
    });
}

#[test]
fn what_is_in_flight_is_not_looked_through() {
    let many = |count: usize| {
        let mut desk = Desk::new(UNLIMITED);
        for number in 0..count {
            desk.send_parse(&name(number), b"one", 0).unwrap();
        }
        (desk, count)
    };
    assert_linear("in flight", FEW, many, |(desk, count)| {
        for _ in 0..*count {
            desk.align(false);
        }
    });
}

#[test]
fn what_is_too_much_is_closed_at_once() {
    let many = |count: usize| {
        let mut desk = Desk::new(10);
        // Nothing may be closed from here on.
        desk.align(true);
        for number in 0..count {
            desk.parse(&name(number), b"one");
        }
        desk.turn(1);
        desk
    };
    assert_linear("surplus", FEW, many, |desk| {
        let closed = desk.parse(b"one more", b"one");
        assert!(tags_of(&closed).len() >= FEW - 9);
    });
}

/// What brought both in line may be skipped by the server.
#[test]
fn a_client_whose_statements_were_not_restored_is_given_them_again() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    desk.server = ServerStatements::new(10);
    let mut out = Vec::new();
    let client = &mut desk.clients[0];
    client.align(&mut desk.server, ENV, true, &mut out).unwrap();
    assert_eq!(tags_of(&out), ['P', 'S']);
    client.failed(&mut desk.server, 1, true);
    assert_eq!(tags_of(&desk.align(true)), ['P', 'S']);
    assert!(desk.align(true).is_empty());
    // On another connection, and with more than it had on this one.
    let first = std::mem::replace(&mut desk.server, ServerStatements::new(10));
    desk.parse(b"t", b"two");
    desk.server = first;
    assert_eq!(tags_of(&desk.align(true)), ['P', 'S']);
}
