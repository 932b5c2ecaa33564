//! How etcd is reached: the calls, and what a failed one means.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{
    AuthenticateResponse, DELETES_ONLY, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseRequest, LeaseRevokeResponse, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchOp, WatchRequest, WatchResponse, range_end,
};
use super::settings::EtcdSettings;
use crate::locks::tls;
use crate::verbs::locking::LockError;

/// Why a call failed, and whether it may have been carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not: the lease that it names does not exist.
    NoSuchLease,
    /// It was not: etcd says why.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let text = || {
            tls::explained(&status)
                .unwrap_or_else(|| format!("{:?}: {}", status.code(), status.message()))
        };
        match status.code() {
            Code::NotFound if status.message().contains("lease not found") => Self::NoSuchLease,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused(text()),
            _ => Self::Unknown(text()),
        }
    }
}

impl From<Failure> for LockError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSuchLease => Self::Unavailable("etcd: the lease is gone".to_owned()),
            Failure::Refused(why) | Failure::Unknown(why) => {
                Self::Unavailable(format!("etcd: {why}"))
            }
        }
    }
}

/// Calls to one etcd cluster.
pub(super) struct Wire {
    settings: EtcdSettings,
    state: Mutex<State>,
}

struct State {
    channel: Channel,
    /// Counts the channels; the address is this one's place in the list, over and over.
    turn: usize,
    token: Option<AsciiMetadataValue>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Wire {
    /// Connects when it is first used.
    pub(super) fn new(mut settings: EtcdSettings) -> Self {
        let within = settings.answer_within;
        let limited = |endpoint: Endpoint| endpoint.connect_timeout(within);
        settings.endpoints = settings.endpoints.into_iter().map(limited).collect();
        let channel = settings.endpoints[0].connect_lazy();
        Self { settings, state: Mutex::new(State { channel, turn: 0, token: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next address, or the same one on a new connection: a channel whose peer has vanished
    /// would not notice for a long time.
    fn give_up(&self, turn: usize) {
        let mut state = self.state();
        if state.turn == turn {
            state.turn += 1;
            let endpoints = &self.settings.endpoints;
            state.channel = endpoints[state.turn % endpoints.len()].connect_lazy();
        }
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    /// A lease of at least `ttl`: its id, and how long it was granted for.
    pub(super) async fn grant_lease(&self, ttl: Duration) -> Result<(i64, Duration), Failure> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let request = LeaseGrantRequest { ttl: i64::try_from(seconds).unwrap_or(i64::MAX) };
        let answer: LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", request).await?;
        match u64::try_from(answer.ttl) {
            Ok(seconds) if answer.error.is_empty() => Ok((answer.id, Duration::from_secs(seconds))),
            _ => Err(Failure::Refused(answer.error)),
        }
    }

    pub(super) async fn revoke_lease(&self, id: i64) -> Result<(), Failure> {
        let revoked = self.call("/etcdserverpb.Lease/LeaseRevoke", LeaseRequest { id }).await;
        revoked.map(|LeaseRevokeResponse {}| ())
    }

    /// For how long the lease goes on. A stream of one message: one that broke need not be mended.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<Duration, Failure> {
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let one = stream::iter([LeaseRequest { id }]);
        let answer = async {
            let mut answers: Streaming<LeaseKeepAliveResponse> = self.stream(path, one).await?;
            answers.message().await
        };
        let turn = self.state().turn;
        match timeout(self.settings.answer_within, answer).await {
            Ok(Ok(Some(answer))) => match u64::try_from(answer.ttl) {
                Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
                _ => Err(Failure::NoSuchLease),
            },
            Ok(Err(status)) => Err(self.judge(turn, status)),
            Ok(Ok(None)) | Err(_) => Err(self.no_answer(turn)),
        }
    }

    /// What is deleted below `prefix` from now on. A member that has no leader ends it.
    pub(super) async fn watch(&self, prefix: &str) -> Result<Streaming<WatchResponse>, Failure> {
        let (key, range_end) = (prefix.into(), range_end(prefix));
        let create = WatchCreateRequest { key, range_end, filters: vec![DELETES_ONLY] };
        let requests = [WatchRequest { op: Some(WatchOp::Create(create)) }];
        let turn = self.state().turn;
        let opened = self
            .stream("/etcdserverpb.Watch/Watch", stream::iter(requests).chain(stream::pending()));
        match timeout(self.settings.answer_within, opened).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(status)) => Err(self.judge(turn, status)),
            Err(_) => Err(self.no_answer(turn)),
        }
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.log_in().await?;
        match self.unary(path, message.clone()).await {
            Err(Failure::Refused(_)) if self.token_was_dropped() => {
                self.log_in().await?;
                self.unary(path, message).await
            }
            answer => answer,
        }
    }

    async fn unary<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, turn) = self.grpc();
        let answer = async {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(path);
            grpc.unary(self.request(message), path, ProstCodec::default()).await
        };
        match timeout(self.settings.answer_within, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.judge(turn, status)),
            Err(_) => Err(self.no_answer(turn)),
        }
    }

    async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, _) = self.grpc();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = self.request(requests);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let path = PathAndQuery::from_static(path);
        Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
    }

    fn grpc(&self) -> (Grpc<Channel>, usize) {
        let state = self.state();
        (Grpc::new(state.channel.clone()), state.turn)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.state().token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// Gets a token where one is wanted and missing.
    async fn log_in(&self) -> Result<(), Failure> {
        let Some(login) = &self.settings.login else { return Ok(()) };
        if self.state().token.is_some() {
            return Ok(());
        }
        let answer: AuthenticateResponse =
            self.unary("/etcdserverpb.Auth/Authenticate", login.clone()).await?;
        let token = answer.token.parse();
        let token = token.map_err(|_| Failure::Refused("its token is no text".to_owned()))?;
        self.state().token = Some(token);
        Ok(())
    }

    fn token_was_dropped(&self) -> bool {
        self.settings.login.is_some() && self.state().token.is_none()
    }

    /// Drops the token: it has run out, or etcd's users have changed since.
    pub(super) fn log_out(&self) {
        self.state().token = None;
    }

    fn judge(&self, turn: usize, status: Status) -> Failure {
        let old = status.message().contains("auth store is old");
        if old || status.code() == Code::Unauthenticated {
            self.log_out();
        }
        let failure = Failure::from(status);
        if matches!(failure, Failure::Unknown(_)) {
            self.give_up(turn);
        }
        failure
    }

    fn no_answer(&self, turn: usize) -> Failure {
        self.give_up(turn);
        Failure::Unknown(format!("no answer within {:?}", self.settings.answer_within))
    }
}
