//! Calls that no generated client makes.

use std::path::Path;

use berth::proto::registration::registration_client::RegistrationClient;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Connects to a unix socket.
pub async fn channel(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))?
        .connect()
        .await
}

/// Calls `path` (`/package.Service/Method`) with an empty message.
pub async fn call(channel: &Channel, path: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(path).expect("a path");
    let answer = client
        .unary(Request::new(()), path, ProstCodec::<(), ()>::default())
        .await;
    answer.map(|_| ())
}

/// A client of the kubelet's plugin registration.
pub async fn registration(socket: &Path) -> Result<RegistrationClient<Channel>, tonic::transport::Error> {
    channel(socket).await.map(RegistrationClient::new)
}
