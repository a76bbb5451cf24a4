//! Edge. A Service of another namespace, by a ReferenceGrant of it: `examples/other-namespace.yaml`.

use anyhow::Result;

use crate::e2e::backends::Backends;
use crate::e2e::client::Client;
use crate::e2e::install::listeners;
use crate::e2e::site::Site;

pub(super) const EXAMPLE: &str = "other-namespace.yaml";

/// What the example says: the namespace that is asked for permission.
const FAR: &str = "data";

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

/// Everybody gets there by the grant, and nobody once it is gone.
pub(super) async fn another_namespace(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    site.kubectl(&["create", "namespace", FAR]).await?;
    let db = Backends {
        name: "db",
        replicas: 2,
        does: "page",
        service: None,
    };
    site.apply(FAR, &db.manifests()).await?;
    let renamed = r#"[{"op": "replace", "path": "/spec/ports/0/name", "value": "postgres"}]"#;
    let patch = [
        "patch",
        "-n",
        FAR,
        "service/db",
        "--type=json",
        "-p",
        renamed,
    ];
    site.kubectl(&patch).await?;
    site.rolled_out(FAR, "db").await?;
    site.apply(FAR, DEFINITION).await?;
    let definition = "crd/referencegrants.gateway.networking.k8s.io";
    let established = ["wait", "--for=condition=Established", "--timeout=60s"];
    site.kubectl(&[&established[..], &[definition]].concat())
        .await?;
    let example = format!("examples/{EXAMPLE}");
    site.kubectl(&["apply", "-f", &example]).await?;
    site.condition("default", "other-namespace", "Ready")
        .await?;
    for (_, address) in listeners(site, "default", "other-namespace", 0).await? {
        client.answered_by(&address, 2, 4).await?;
    }
    let grant = ["delete", "-n", FAR, "referencegrant", "--all"];
    site.kubectl(&grant).await?;
    site.condition("default", "other-namespace", "ResolvedRefs=False")
        .await?;
    site.kubectl(&["delete", "tcpf/other-namespace"]).await?;
    site.kubectl(&["delete", definition, &format!("ns/{FAR}")])
        .await
        .map(drop)
}
