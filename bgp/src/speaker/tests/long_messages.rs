//! RFC 8654.

use super::*;

/// RFC 8654 §4: who has said that it takes long messages must take them from everyone.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_takes_no_long_messages_may_send_them() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let mut session = session(listener.local_addr().unwrap());
    let (mut router, _) = listener.accept().await.unwrap();
    answer_open(&mut router, vec![Capability::FourOctetAs(ASN)]).await;
    let attributes: &[u8] =
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1, 0x40, 5, 4, 0, 0, 0, 100];
    let nlri: Vec<u8> = (0..2000_u16).flat_map(|i| [24, 8, (i >> 8) as u8, i as u8]).collect();
    let length = u16::try_from(19 + 4 + attributes.len() + nlri.len()).unwrap();
    let mut update = vec![0xff; 16];
    update.extend(length.to_be_bytes());
    update.extend([2, 0, 0, 0, u8::try_from(attributes.len()).unwrap()]);
    update.extend(attributes.iter().chain(&nlri));
    router.write_all(&update).await.unwrap();
    let mut learned = 0;
    while learned < 2000 {
        let ToRib::Batch(batch) = session.events.recv().await.unwrap() else { panic!() };
        for event in batch.events {
            match event {
                SessionEvent::Update(update) => learned += update.announced.len(),
                SessionEvent::Up => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
