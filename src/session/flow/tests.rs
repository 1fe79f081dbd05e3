//! Flows between real sockets, whose peers the test has in hand.

use std::future::poll_fn;
use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::task::Poll;

use super::*;
use crate::net::Socket;

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

/// Sends what fits of one message without an end.
fn talk_on(talker: &mut TcpStream, begun: &mut bool) {
    let mut piece = vec![0; BUFFER];
    loop {
        if !*begun {
            piece[..5].copy_from_slice(b"d\x7f\xff\xff\xff");
        }
        match talker.write(&piece) {
            Ok(n) => assert!(std::mem::replace(begun, true) || n >= 5),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
        piece.fill(0);
    }
}

/// As an error reaches a client that is still sending: not after all of it.
#[tokio::test]
async fn a_long_direction_lets_the_other_hear_of_its_socket() {
    let ((mut talker, mut client), (mut server, mut upstream)) = (leg(), leg());
    let (mut up, mut down) = (Flow::default(), Flow::default());
    let (mut begun, mut said) = (false, false);
    // A task of its own, as a session is: nothing but it makes the event loop look.
    let task = tokio::spawn(poll_fn(move |cx| {
        let before = up.carried;
        talk_on(&mut talker, &mut begun);
        let turn = up.turn(cx, &mut client, &mut upstream, |_, _| Step::Drop);
        assert_eq!(turn.unwrap(), Turn::Empty);
        let mut heard = false;
        let turn = down.turn(cx, &mut upstream, &mut client, |_, _| {
            heard = true;
            Step::Drop
        });
        assert_eq!(turn.unwrap(), Turn::Empty);
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
