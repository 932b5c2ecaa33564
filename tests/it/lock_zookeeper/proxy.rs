//! A network between a client and the server that can be taken away.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Everything arrives.
    Both,
    /// What the client says arrives, what the server says does not.
    Requests,
    /// Nothing arrives, and nobody is told.
    Nothing,
}

/// What holds, and how often all connections were cut.
type State = (Flow, u32);

pub struct Proxy {
    pub port: u16,
    state: watch::Sender<State>,
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (state, seen) = watch::channel((Flow::Both, 0));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let requests = |flow| flow != Flow::Nothing;
                tokio::spawn(carry(from_client, to_server, seen.clone(), requests));
                tokio::spawn(carry(from_server, to_client, seen.clone(), |flow| {
                    flow == Flow::Both
                }));
            }
        });
        Self { port, state }
    }

    pub fn hosts(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What arrives from now on; what was held back arrives then.
    pub fn set(&self, flow: Flow) {
        self.state.send_modify(|state| state.0 = flow);
    }

    /// Closes all connections, with what is on the way.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.1 += 1);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    open: fn(Flow) -> bool,
) {
    let life = state.borrow().1;
    let mut cut = state.clone();
    let carried = async {
        let mut bytes = [0; 4096];
        loop {
            let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
            if state.wait_for(|state| open(state.0)).await.is_err() {
                return;
            }
            if to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carried => {}
        _ = cut.wait_for(|state| state.1 != life) => {}
    }
}
