//! A Unix socket whose reader is woken by what arrives, and by nothing else.
//!
//! The runtime's own Unix socket is registered for reading and for writing. Linux reports a Unix
//! socket as writable again each time its peer has taken a message out of it, so every message
//! that a server reads wakes the client once for nothing: of two context switches a message, one
//! is that. This one is registered for reading; whether it can be written to is asked only
//! after a write that did not fit, which no message of a transfer is. TCP sockets report only
//! what was waited for, and keep the runtime's.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use deadpool_postgres::Connect;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error, NoTls};

/// The socket of the server that `config` names, where it names one on this machine.
pub(super) fn path_of(config: &Config) -> Option<PathBuf> {
    match (config.get_hosts(), config.get_ports()) {
        ([Host::Unix(directory)], [port]) => Some(directory.join(format!(".s.PGSQL.{port}"))),
        _ => None,
    }
}

/// Connects a pool's connections over one.
pub(super) struct QuietConnect(pub(super) PathBuf);

impl Connect for QuietConnect {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            // A driver that cannot get in by its own means says best why.
            let Ok(socket) = QuietSocket::connect(&self.0).await else {
                let (client, connection) = config.connect(NoTls).await?;
                return Ok((client, tokio::spawn(async move { drop(connection.await) })));
            };
            let (client, connection) = config.connect_raw(socket, NoTls).await?;
            // Ends with the client. Its error is the client's too, which reports it.
            Ok((client, tokio::spawn(async move { drop(connection.await) })))
        })
    }
}

/// See the module.
struct QuietSocket {
    read: AsyncFd<UnixStream>,
    /// While a write waits for room: the same socket, registered for writing.
    write: Option<AsyncFd<UnixStream>>,
}

impl QuietSocket {
    async fn connect(path: &Path) -> io::Result<Self> {
        Self::new(tokio::net::UnixStream::connect(path).await?.into_std()?)
    }

    /// Of a socket that does not block.
    fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { read: watched(socket, Interest::READABLE)?, write: None })
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may give their descriptor away; an owned \
              UnixStream that nobody reaches mutably never does"
)]
fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for QuietSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = &self.get_mut().read;
        loop {
            let mut ready = ready!(read.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            match ready.try_io(|socket| socket.get_ref().read(room)) {
                Ok(Ok(count)) => {
                    // A read that came short has emptied the socket: asking again would be told
                    // so. What arrives from now on is reported anew.
                    if 0 < count && count < wanted {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_nothing_there) => {}
            }
        }
    }
}

impl AsyncWrite for QuietSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let Some(write) = &this.write else {
                match this.read.get_ref().write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let socket = this.read.get_ref().try_clone()?;
                        this.write = Some(watched(socket, Interest::WRITABLE)?);
                        continue;
                    }
                    written => return Poll::Ready(written),
                }
            };
            let mut ready = ready!(write.poll_write_ready(context))?;
            match ready.try_io(|socket| socket.get_ref().write(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => {
                    this.write = None;
                    return Poll::Ready(written);
                }
                Err(_no_room) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.read.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (QuietSocket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (QuietSocket::new(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn what_arrives_in_pieces_is_read_whole_and_then_the_end() {
        let (mut socket, mut peer) = pair();
        let sender = std::thread::spawn(move || {
            for piece in 0..100_u8 {
                peer.write_all(&vec![piece; 1 + usize::from(piece) * 37]).unwrap();
                if piece % 10 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        sender.join().unwrap();
        let sent: Vec<u8> = (0..100).flat_map(|p| vec![p; 1 + usize::from(p) * 37]).collect();
        assert_eq!(all, sent);
    }

    #[tokio::test]
    async fn a_write_waits_until_there_is_room_and_loses_nothing() {
        let (mut socket, mut peer) = pair();
        let sent: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        socket.write_all(&sent).await.unwrap();
        assert!(socket.write.is_none(), "nobody waits for room any more");
        socket.shutdown().await.unwrap();
        assert_eq!(reader.join().unwrap(), sent);
    }

    #[tokio::test]
    async fn to_write_to_one_that_has_gone_is_an_error() {
        let (mut socket, peer) = pair();
        drop(peer);
        assert!(socket.write_all(b"anybody there?").await.is_err());
    }
}
