//! Edge. A Service of another namespace, by a ReferenceGrant of it.

use anyhow::Result;
use serde_json::json;

use crate::e2e::backends::{Backends, PORT};
use crate::e2e::balance::WEB;
use crate::e2e::client::Client;
use crate::e2e::install::data_planes;
use crate::e2e::site::{Site, USERS};

/// The namespace that is asked for permission.
const FAR: &str = "e2e-far";

/// Of the forward to it.
const LISTENER: u16 = WEB + 5;

/// As far as its users are concerned; the operator finds it while it runs.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: referencegrants.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: 'unapproved, a stand-in for tests of tcpforward'}
spec:
  group: gateway.networking.k8s.io
  names:
    {kind: ReferenceGrant, listKind: ReferenceGrantList, plural: referencegrants, singular: referencegrant}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// Nobody gets there before the grant, everybody after it, and nobody once it is gone.
pub(super) async fn another_namespace(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    site.kubectl(&["create", "namespace", FAR]).await?;
    let far = Backends {
        name: "far",
        replicas: 2,
        does: "page",
        service: None,
    };
    site.apply(FAR, &far.manifests()).await?;
    site.rolled_out(FAR, "far").await?;
    site.apply(USERS, &forward()).await?;
    site.condition(USERS, "far", "ResolvedRefs=False").await?;
    site.apply(FAR, DEFINITION).await?;
    let definition = "crd/referencegrants.gateway.networking.k8s.io";
    let established = ["wait", "--for=condition=Established", "--timeout=60s"];
    site.kubectl(&[&established[..], &[definition]].concat())
        .await?;
    site.apply(FAR, &grant()).await?;
    site.condition(USERS, "far", "Ready").await?;
    for plane in data_planes(site).await? {
        let address = format!("{}:{LISTENER}", plane.ip);
        client.answered_by(&address, 2, 4).await?;
    }
    site.kubectl(&["delete", "-n", FAR, "referencegrant/in"])
        .await?;
    site.condition(USERS, "far", "ResolvedRefs=False").await?;
    site.kubectl(&["delete", "-n", USERS, "tcpf/far"]).await?;
    site.kubectl(&["delete", definition, &format!("ns/{FAR}")])
        .await
        .map(drop)
}

fn forward() -> String {
    let target = json!({"name": "far", "service": {"namespace": FAR, "name": "far", "port": PORT}});
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward", "metadata": {"name": "far"},
        "spec": {"listener": {"port": LISTENER}, "relay": {"targets": [target]}},
    })
    .to_string()
}

fn grant() -> String {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant",
        "metadata": {"name": "in"},
        "spec": {
            "from": [{"group": "tcpforward.dev", "kind": "TcpForward", "namespace": USERS}],
            "to": [{"group": "", "kind": "Service", "name": "far"}],
        },
    })
    .to_string()
}
