//! Edge. The way to the API server, which notices when nobody is at its other end any more.
//!
//! A node or a load balancer that dies closes no connection, and on one without traffic nobody misses
//! an answer: kube's watches would be deaf until their time is over, which may be five minutes.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::util::option_layer;
use tower::{BoxError, ServiceExt};

/// A connection is asked for a sign of life when it has been silent for that long …
const SILENCE: Duration = Duration::from_secs(10);

/// … and again so often.
const AGAIN: Duration = Duration::from_secs(5);

/// Without an answer for that long, to those or to data, it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client as kube makes it, over sockets that are watched by the kernel.
///
/// # Errors
/// The configuration can't be used.
pub(crate) fn connect(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // It says what of proxies is not built in.
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(SILENCE));
    tcp.set_keepalive_interval(Some(AGAIN));
    tcp.set_tcp_user_timeout(Some(PATIENCE));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let retries = config.default_retry.then(RetryPolicy::server_retry);
    let builder = ClientBuilder::new(http.map_err(BoxError::from), &*config.default_namespace)
        .with_layer(&config.extra_headers_layer()?)
        .with_layer(&option_layer(config.auth_layer()?))
        .with_layer(&option_layer(retries.map(RetryLayer::new)))
        .with_layer(&config.base_uri_layer());
    Ok(builder.build())
}
