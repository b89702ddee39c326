//! What a coordinator does about the first question: ask the origin once for all who wait, and tell each of them.

use std::sync::Arc;

use http::header;

use super::{Coordinator, Message};
use crate::fill::freshness::CacheControl;
use crate::fill::open::{self, Outcome, Question};
use crate::fill::run::OpenBody;
use crate::fill::{FillError, How, Opened};
use crate::range::block_of;
use crate::store::{Object, ObjectMeta};
use crate::time::unix_now;

/// How long a stale object is served without asking again when the origin is down, in seconds.
const STALE_GRACE: u64 = 10;

impl Coordinator {
    pub(super) fn open(&mut self, request: open::Request) {
        self.meet(&request.interest);
        // Known since the reader looked: it was told of a miss, but another one was faster.
        if let Some(object) = &self.object
            && !object.is_retired()
            && object.is_fresh(unix_now())
        {
            let opened = Opened::Object { object: object.clone(), how: How::Collapsed };
            let _ = request.reply.send(Ok(opened));
            return;
        }
        match &mut self.opening {
            Some(waiting) => waiting.push(request),
            None => {
                let question = Question::of(&request);
                self.opening = Some(vec![request]);
                self.ask(question);
            }
        }
    }

    fn ask(&self, question: Question) {
        let (shared, mailbox) = (self.shared.clone(), self.mailbox.clone());
        self.shared.tasks.spawn(async move {
            let stop = shared.stop.clone();
            tokio::select! {
                outcome = question.ask(&shared) => {
                    let _ = mailbox.send(Message::Answered { question, outcome }).await;
                }
                () = stop.cancelled() => {}
            }
        });
    }

    pub(super) fn answered(&mut self, question: Question, outcome: Outcome) {
        let Some(waiting) = self.opening.take() else { return };
        match outcome {
            Outcome::Content { meta, from, to, body } => {
                let object = self.publish(&meta);
                // A range begins at a block's border, as asked; a whole body at 0.
                let end = to.checked_sub(1).map_or(0, |last| block_of(last) + 1);
                let open = OpenBody { body, from };
                self.start_run(&question.interest, block_of(from), end, Some(open));
                reply_with_object(waiting, &object, How::Fetched);
            }
            Outcome::Confirmed(meta) => match question.stale {
                Some(object) => {
                    self.shared.store.renew(&object, &meta);
                    self.set_object(&object);
                    reply_with_object(waiting, &object, How::Revalidated);
                }
                None => reply_all(waiting, &Ok(Opened::PassThrough)),
            },
            Outcome::NoSuchBytes if question.asked.start() > 0 => {
                if let Some(first) = waiting.first() {
                    self.ask(Question::at_start(first));
                    self.opening = Some(waiting);
                }
            }
            Outcome::NoSuchBytes | Outcome::Unstorable => {
                reply_all(waiting, &Ok(Opened::PassThrough));
            }
            Outcome::Reply(reply) => {
                if reply.status.is_server_error()
                    && let Some(stale) = self.may_serve_stale(&question)
                {
                    return reply_with_object(waiting, &stale, How::Stale);
                }
                // The refusal may be about this reader's signature: the others ask with their own.
                let asked_as = question.interest.target();
                let (same, mut others): (Vec<_>, Vec<_>) = waiting
                    .into_iter()
                    .partition(|request| request.interest.target().same_as(asked_as));
                reply_all(same, &Ok(Opened::Reply(Arc::new(reply))));
                others.retain(|request| !request.reply.is_closed());
                if let Some(first) = others.first() {
                    self.ask(Question::of(first));
                    self.opening = Some(others);
                }
            }
            Outcome::Failed(failure) => match self.may_serve_stale(&question) {
                Some(stale) => reply_with_object(waiting, &stale, How::Stale),
                None => reply_all(waiting, &Err(FillError::Origin(failure))),
            },
        }
    }

    /// The stale object, if it may be served while the origin is down (RFC 9111 §4.2.4). It then counts as
    /// fresh for a moment, so that not every request waits for the origin's silence.
    fn may_serve_stale(&mut self, question: &Question) -> Option<Arc<Object>> {
        let stale = question.stale.clone().filter(|stale| !stale.is_retired())?;
        let meta = stale.meta();
        let control = meta.headers.iter().filter(|(name, _)| *name == header::CACHE_CONTROL);
        let lines = control.filter_map(|(_, value)| value.to_str().ok());
        if !CacheControl::parse(lines).stale_allowed() {
            return None;
        }
        let fresh_until = unix_now() + STALE_GRACE;
        self.shared.store.renew(&stale, &ObjectMeta { fresh_until, ..meta });
        self.set_object(&stale);
        Some(stale)
    }
}

fn reply_with_object(waiting: Vec<open::Request>, object: &Arc<Object>, first: How) {
    for (i, request) in waiting.into_iter().enumerate() {
        let how = if i == 0 { first } else { How::Collapsed };
        let _ = request.reply.send(Ok(Opened::Object { object: object.clone(), how }));
    }
}

fn reply_all(waiting: Vec<open::Request>, opened: &Result<Opened, FillError>) {
    for request in waiting {
        let _ = request.reply.send(opened.clone());
    }
}
