//! The OPEN of a router that may become a neighbor: read before anything is said, so that its AS
//! number is known and a scan costs nothing.
//!
//! A speaker may let the other side speak first (RFC 4271 §8.1.1, DelayOpen). The bytes stay as they
//! are: the session reads them again, as the first of its connection.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::subcode::state_machine;
use crate::wire::{
    DecodeContext, MAX_MESSAGE, Message, Notification, NotificationCode, Outgoing, decode, frame,
};

/// How long a router may take. It has just connected, so the OPEN is on its way.
const WAIT: Duration = Duration::from_secs(30);
/// How long a refused connection may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a router said of itself.
#[derive(Debug)]
pub(super) struct FirstOpen {
    pub(super) asn: u32,
    /// The OPEN, and what came with it.
    pub(super) read: BytesMut,
}

/// Why there is no OPEN.
#[derive(Debug)]
pub(super) enum NoOpen {
    /// The other side closed the connection.
    HungUp,
    /// What came is no OPEN, or none came in time; what the other side is to be told.
    Refused(Notification, String),
}

/// Waits for the OPEN on a connection that has just been accepted.
pub(super) async fn read(stream: &mut TcpStream) -> Result<FirstOpen, NoOpen> {
    let mut read = BytesMut::with_capacity(MAX_MESSAGE);
    let open = async {
        loop {
            if let Some(asn) = asn_of(&read)? {
                return Ok(asn);
            }
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return Err(NoOpen::HungUp),
                Ok(_) => {}
            }
        }
    };
    let asn = timeout(WAIT, open).await.unwrap_or_else(|_| {
        let notification = Notification::new(NotificationCode::HoldTimerExpired, 0);
        Err(NoOpen::Refused(notification, format!("no OPEN came in {} s", WAIT.as_secs())))
    })?;
    Ok(FirstOpen { asn, read })
}

/// The AS number in the OPEN that `bytes` begin with; `None` if they are not all there.
fn asn_of(bytes: &[u8]) -> Result<Option<u32>, NoOpen> {
    let message = match frame(bytes, MAX_MESSAGE) {
        Ok(Some(frame)) => decode(frame, &DecodeContext::default()),
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match message {
        Ok(Message::Open(open)) => Ok(Some(open.asn)),
        Ok(Message::Notification(_)) => Err(NoOpen::HungUp),
        Ok(_) => {
            let subcode = state_machine::UNEXPECTED_MESSAGE_IN_OPEN_SENT;
            let notification = Notification::new(NotificationCode::FiniteStateMachine, subcode);
            Err(NoOpen::Refused(notification, "the first message is no OPEN".to_owned()))
        }
        Err(error) => {
            let why = error.to_string();
            Err(NoOpen::Refused(error.notification, why))
        }
    }
}

/// Tells the other side why it is refused, and closes the connection.
pub(super) async fn refuse(mut stream: TcpStream, notification: Notification) {
    let message = Outgoing::Notification(notification).encode();
    let last_words = async {
        stream.write_all(&message).await?;
        stream.shutdown().await?;
        // A close with unread bytes resets the connection, which can destroy what was just sent.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever goes wrong now, nobody is left to be told.
    let _ = timeout(LAST_WORDS, last_words).await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Capability, Open};

    fn open(asn: u32) -> Vec<u8> {
        let capabilities = vec![Capability::FourOctetAs(asn)];
        let bgp_id = Ipv4Addr::new(10, 0, 0, 1);
        Outgoing::Open(Open { asn, hold_time: 90, bgp_id, capabilities }).encode().to_vec()
    }

    #[test]
    fn the_as_number_is_the_one_with_four_octets_and_needs_the_whole_open() {
        let bytes = open(4_200_000_000);
        assert!(matches!(asn_of(&bytes), Ok(Some(4_200_000_000))));
        for length in 0..bytes.len() {
            assert!(matches!(asn_of(&bytes[..length]), Ok(None)), "{length}");
        }
    }

    #[test]
    fn what_is_no_open_is_answered() {
        let keepalive = Outgoing::Keepalive.encode();
        let Err(NoOpen::Refused(notification, _)) = asn_of(&keepalive) else { panic!() };
        assert_eq!((u8::from(notification.code), notification.subcode), (5, 1));
        let Err(NoOpen::Refused(notification, _)) = asn_of(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        else {
            panic!()
        };
        assert_eq!((u8::from(notification.code), notification.subcode), (1, 1));
        let cease = Notification::administrative_shutdown(None);
        let cease = Outgoing::Notification(cease).encode();
        assert!(matches!(asn_of(&cease), Err(NoOpen::HungUp)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = asn_of(&bytes);
            let mut message = vec![0xff; 16];
            message.extend(u16::try_from(19 + bytes.len()).unwrap().to_be_bytes());
            message.push(1);
            message.extend(&bytes);
            let _ = asn_of(&message);
        }
    }
}
