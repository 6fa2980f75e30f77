//! A stream to PostgreSQL that notices when nobody answers, and when the session is of no use.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_postgres::tls::ChannelBinding;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::frames::Frames;

/// What a session is judged by.
#[derive(Clone, Debug)]
pub(in crate::db) struct Watch {
    /// How long the server may be silent while it owes an answer: longer than any statement may take.
    pub(in crate::db) patience: Duration,
    /// Another session of the pool went silent: those that are not in use end.
    pub(in crate::db) suspicion: CancellationToken,
}

pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) binding: fn(&S) -> ChannelBinding,
    frames: Frames,
    /// What was read and is not passed on yet.
    out: Vec<u8>,
    passed: usize,
    is_useless: bool,
    /// Without it, only the server ends the session.
    waiting: Option<Waiting>,
}

struct Waiting {
    patience: Duration,
    owed: bool,
    until: Pin<Box<Sleep>>,
    suspicion: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, binding: fn(&S) -> ChannelBinding, watch: Option<Watch>) -> Self {
        let waiting = watch.map(|watch| Waiting {
            patience: watch.patience,
            owed: true,
            until: Box::pin(tokio::time::sleep(watch.patience)),
            suspicion: Box::pin(watch.suspicion.cancelled_owned()),
        });
        let (frames, out) = (Frames::default(), Vec::new());
        Self { stream, binding, frames, out, passed: 0, is_useless: false, waiting }
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let left = &self.out[self.passed..];
        let part = left.len().min(buf.remaining());
        buf.put_slice(&left[..part]);
        self.passed += part;
        if self.passed == self.out.len() {
            self.out.clear();
            self.passed = 0;
        }
    }
}

impl Waiting {
    fn restart(&mut self, owed: bool) {
        self.owed = owed;
        self.until.as_mut().reset(Instant::now() + self.patience);
    }

    /// Ready with the reason why nothing will come any more.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.owed {
            ready!(self.until.as_mut().poll(context));
            return Poll::Ready(io::Error::new(ErrorKind::TimedOut, "the server went silent"));
        }
        ready!(self.suspicion.as_mut().poll(context));
        Poll::Ready(io::Error::new(ErrorKind::TimedOut, "another session's server went silent"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.out.is_empty() {
            if this.is_useless {
                let why = "the session is of no use any more";
                return Poll::Ready(Err(io::Error::new(ErrorKind::ConnectionAborted, why)));
            }
            let mut space = [0; 8 * 1024];
            let mut read = ReadBuf::new(&mut space);
            // What has arrived counts before the clock: a process that was frozen finds both.
            if Pin::new(&mut this.stream).poll_read(context, &mut read)?.is_pending() {
                let Some(waiting) = &mut this.waiting else { return Poll::Pending };
                return waiting.poll_end(context).map(Err);
            }
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let told = this.frames.pass(read.filled(), &mut this.out);
            this.is_useless |= told.is_useless;
            if let Some(waiting) = &mut this.waiting {
                waiting.restart(waiting.owed && !told.is_ready);
            }
        }
        this.hand_out(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, buf))?;
        if let Some(waiting) = &mut this.waiting {
            waiting.restart(true);
            // Who writes has read before: the time-out must wake it.
            if let Poll::Ready(error) = waiting.poll_end(context) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
