//! The `Date` of answers whose origin has sent none. hyper would add one of its own, but that stands still when the clock
//! is set back, until the clock has come there again.

use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use super::head::ascii;

/// Makes the field once a second.
#[derive(Debug, Default)]
pub(crate) struct DateClock(ArcSwapOption<(u64, HeaderValue)>);

impl DateClock {
    /// The field for `now`, in seconds since 1970.
    pub(super) fn at(&self, now: u64) -> HeaderValue {
        if let Some(made) = &*self.0.load()
            && made.0 == now
        {
            return made.1.clone();
        }
        let date = ascii(&httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
        self.0.store(Some((now, date.clone()).into()));
        date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_with_the_clock() {
        let clock = DateClock::default();
        for (now, date) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (784_108_177, "Sun, 06 Nov 1994 07:49:37 GMT"),
        ] {
            assert_eq!(clock.at(now), date);
        }
    }
}
