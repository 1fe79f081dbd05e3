//! Flows between real sockets, whose peers the test has in hand.

use std::future::poll_fn;
use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::task::Poll;

use proptest::prelude::*;

use super::*;
use crate::net::Socket;
use crate::tests::assert_linear;

/// A peer, whose writes do not wait, and the leg at whose other end it is.
fn leg() -> (TcpStream, MaybeTls) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::TcpStream::from_std(socket).unwrap();
    (peer, MaybeTls::Plain(Socket::Tcp(socket)))
}

/// Sends what fits of messages of 64 MiB without an end, from where it stopped.
fn talk_on(talker: &mut TcpStream, sent: &mut usize) {
    const BODY: u32 = 64 << 20;
    let mut message = b"d".to_vec();
    message.extend(BODY.to_be_bytes());
    message.resize(BUFFER, 0);
    loop {
        let at = *sent % (1 + BODY as usize);
        let left = 1 + BODY as usize - at;
        let from = at.min(5);
        let piece = &message[from..(from + left).min(BUFFER)];
        match talker.write(piece) {
            Ok(n) => *sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// As an error reaches a client that is still sending: not after all of it.
#[tokio::test]
async fn a_long_direction_lets_the_other_hear_of_its_socket() {
    let ((mut talker, mut client), (mut server, mut upstream)) = (leg(), leg());
    let (mut up, mut down) = (Flow::default(), Flow::default());
    let (mut sent, mut said) = (0, false);
    // A task of its own, as a session is: nothing but it makes the event loop look.
    let task = tokio::spawn(poll_fn(move |cx| {
        let before = up.carried;
        talk_on(&mut talker, &mut sent);
        let turn = up.turn(cx, &mut client, &mut upstream, |_, _| FrameAction::Drop);
        assert_eq!(turn.unwrap(), Progress::Empty);
        let mut heard = false;
        let turn = down.turn(cx, &mut upstream, &mut client, |_, _| {
            heard = true;
            FrameAction::Drop
        });
        assert_eq!(turn.unwrap(), Progress::Empty);
        if said {
            return Poll::Ready(heard);
        }
        // It has had its turn, and has more.
        if up.carried - before == u64::from(MOST_FILLS) * BUFFER as u64 {
            said = true;
            server.write_all(b"Z\0\0\0\x05I").unwrap();
        }
        Poll::Pending
    }));
    assert!(task.await.unwrap());
}

fn message(tag: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
    bytes.resize(5 + length, tag);
    bytes
}

impl Flow {
    fn to_write(&self) -> &[u8] {
        &self.buffer.as_deref().unwrap_or_default()[self.start..self.ready]
    }
}

#[test]
fn no_frame_moves_all_that_is_behind_it() {
    let full = |count: usize| Flow::default().with_ahead(&message(b'H', 0).repeat(count));
    assert_linear("dropped behind what waits", 2048, full, |flow| {
        let mut first = true;
        let pass_one = |_: Frame<'_>, _: &mut Vec<u8>| match std::mem::take(&mut first) {
            true => FrameAction::Pass,
            false => FrameAction::Drop,
        };
        flow.look(pass_one).unwrap();
        assert_eq!((flow.to_write().len(), flow.unseen().len()), (5, 0));
    });
    assert_linear("each with one before it", 2048, full, |flow| {
        let frames = flow.end;
        let put = |_: Frame<'_>, before: &mut Vec<u8>| {
            before.extend(b"S\0\0\0\x04");
            FrameAction::Pass
        };
        flow.look(put).unwrap();
        assert_eq!(
            (flow.to_write().len(), flow.unseen().len()),
            (2 * frames, 0)
        );
    });
}

/// A message, how many bytes go before it, and what becomes of it.
fn visits() -> impl Strategy<Value = Vec<(usize, usize, FrameAction)>> {
    let step = prop_oneof![
        Just(FrameAction::Pass),
        Just(FrameAction::Drop),
        Just(FrameAction::Stop)
    ];
    let before = prop_oneof![3 => Just(0), 1 => 1..60_usize];
    proptest::collection::vec((0..90_usize, before, step), 0..200)
}

proptest! {
    #[test]
    fn what_goes_on_is_what_was_passed_and_put_before_it(
        visits in visits(),
        torn in 0..5_usize,
    ) {
        let stream: Vec<u8> = visits.iter().flat_map(|(length, ..)| message(b'd', *length)).collect();
        let rest = &message(b'H', 0)[..torn];
        let mut flow = Flow::default().with_ahead(&[&stream[..], rest].concat());
        let (mut at, mut stopped, mut expected) = (0, false, Vec::new());
        loop {
            let looked = flow.look(|frame, before| {
                let (length, own, step) = visits[at];
                assert_eq!(frame.len, length);
                // The second time, what it waited for is there.
                let step = if stopped { FrameAction::Pass } else { step };
                if !stopped {
                    before.extend(vec![b'x'; own]);
                    expected.extend(vec![b'x'; own]);
                }
                stopped = step == FrameAction::Stop;
                if step == FrameAction::Pass {
                    expected.extend(message(b'd', length));
                }
                at += usize::from(!stopped);
                step
            });
            prop_assert!(looked.is_ok());
            if !stopped {
                break;
            }
        }
        prop_assert_eq!(at, visits.len());
        prop_assert_eq!(flow.to_write(), &expected[..]);
        prop_assert_eq!(flow.unseen(), rest);
    }
}
