use std::time::Duration;

use serde_json::Value;

use super::*;

/// Calls `see` with the path and schema of every property and item.
fn walk(path: &str, schema: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, see);
    }
    if let Some(items) = schema.get("items") {
        walk(&format!("{path}[]"), items, see);
    }
}

fn fields(see: &mut impl FnMut(&str, &Value)) {
    for kind in Kind::ALL {
        fields_of(kind, see);
    }
}

fn fields_of(kind: Kind, see: &mut impl FnMut(&str, &Value)) {
    let schema = schema(kind);
    for part in ["spec", "status"] {
        walk(part, &schema["properties"][part], see);
    }
}

#[test]
fn the_committed_definitions_are_fresh() {
    let pools = include_str!("../../../crds/tcpforward.dev_dataplanes.yaml");
    let forwards = include_str!("../../../crds/tcpforward.dev_tcpforwards.yaml");
    for (kind, committed) in [(Kind::DataPlane, pools), (Kind::TcpForward, forwards)] {
        assert_eq!(yaml(kind).unwrap(), committed, "run `make generate`");
    }
}

#[test]
fn every_field_says_what_it_is() {
    fields(&mut |path, schema| {
        if !path.ends_with("[]") {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{path}: {description:?}");
        }
    });
}

#[test]
fn every_field_is_bounded() {
    fields(&mut |path, schema| {
        let has = |key: &str| schema.get(key).is_some();
        match schema["type"].as_str() {
            Some("string") => assert!(
                has("maxLength") || has("enum") || schema["format"] == "date-time",
                "{path}: {schema}"
            ),
            Some("array") => assert!(has("maxItems") && has("items"), "{path}"),
            Some("integer") => assert!(
                has("minimum") && matches!(schema["format"].as_str(), Some("int32" | "int64")),
                "{path}: {schema}"
            ),
            Some("boolean") => {}
            // Labels and annotations of Kubernetes: a map with bounds of its own.
            Some("object") if is_map(path) => {
                assert!(has("maxProperties"), "{path}");
                assert!(
                    schema["additionalProperties"]["maxLength"].is_u64(),
                    "{path}"
                );
            }
            Some("object") => assert!(has("properties"), "{path}"),
            Some(other) => panic!("{path} is a {other}"),
            None => assert_eq!(schema["x-kubernetes-int-or-string"], true, "{path}"),
        }
    });
}

/// Whether its keys are its author's.
fn is_map(path: &str) -> bool {
    path.ends_with(".matchLabels") || path.ends_with(".annotations")
}

#[test]
fn nothing_is_nullable_open_or_defaulted_where_tools_would_fight_it() {
    let mut defaults = Vec::new();
    fields(&mut |path, schema| {
        if is_map(path) {
            return;
        }
        for open in [
            "nullable",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
        ] {
            assert!(schema.get(open).is_none(), "{path} has {open}");
        }
        if let Some(default) = schema.get("default") {
            defaults.push((path.to_owned(), default.clone()));
        }
    });
    assert_eq!(
        defaults,
        [("spec.dataPlaneName".to_owned(), "default".into())]
    );
}

#[test]
fn the_fields_of_this_version_are_these_and_no_others() {
    let mut spec = Vec::new();
    fields_of(Kind::TcpForward, &mut |path, _| {
        if path.starts_with("spec.") && !path.ends_with("[]") && option_of(path).is_none() {
            spec.push(
                path.trim_start_matches("spec.")
                    .replace("relay.healthCheck.", "check.")
                    .replace("relay.targets[].", "t.")
                    .replace("httpConnect.rules[].", "r.")
                    .replace("httpConnect.", "connect."),
            );
        }
    });
    assert_eq!(
        spec.join(" "),
        "dataPlaneName expose expose.annotations expose.externalTrafficPolicy \
         expose.loadBalancerClass expose.type httpConnect connect.authentication connect.authentication.basic \
         connect.authentication.basic.secretRef connect.authentication.basic.secretRef.name \
         connect.limits connect.limits.headerTimeout connect.limits.maxHeaderSize \
         connect.limits.tunnels connect.limits.tunnelsPerSource \
         connect.limits.tunnelsPerSubject connect.mode connect.rules r.action r.cidrs r.hosts \
         r.name r.ports r.services r.services[].name r.services[].namespace r.subjects \
         r.subjects[].kind r.subjects[].name connect.via connect.via.caSecretRef \
         connect.via.caSecretRef.name connect.via.credentials connect.via.credentials.secretRef \
         connect.via.credentials.secretRef.name connect.via.proxy connect.via.proxy.host \
         connect.via.proxy.port connect.via.proxy.scheme listener listener.address \
         listener.endPort listener.limits listener.limits.connections \
         listener.limits.connectionsPerSecond listener.limits.connectionsPerSource \
         listener.port listener.proxyProtocol listener.proxyProtocol.mode \
         listener.proxyProtocol.trustedSources listener.sourceRanges listener.tcp relay \
         relay.backendLimits relay.backendLimits.connections relay.backendLimits.queueTimeout relay.dial \
         relay.dial.attempts relay.dial.deadline relay.dial.hedge relay.dial.hedge.after \
         relay.dial.timeout relay.establishedConnections \
         relay.establishedConnections.closesPerSecond relay.establishedConnections.drainTimeout \
         relay.establishedConnections.onFailback relay.establishedConnections.onNotReady \
         relay.establishedConnections.onRemoved relay.establishedConnections.onTerminating \
         relay.establishedConnections.onUnhealthy relay.failover relay.failover.failback \
         relay.failover.failback.delay relay.failover.failback.mode \
         relay.failover.minHealthyPercent relay.healthCheck check.active \
         check.active.healthyThreshold check.active.http check.active.http.path \
         check.active.http.port check.active.http.statuses check.active.interval \
         check.active.tcp check.active.tcp.receive check.active.tcp.receive.binary \
         check.active.tcp.receive.text check.active.tcp.receive.type check.active.tcp.send \
         check.active.tcp.send.binary check.active.tcp.send.text check.active.tcp.send.type \
         check.active.timeout check.active.type check.active.unhealthyThreshold check.passive \
         check.passive.baseEjectionTime check.passive.consecutiveDialFailures \
         check.passive.consecutiveEarlyResets check.passive.maxEjectionPercent \
         check.whenNoneHealthy relay.loadBalancer relay.loadBalancer.consistentHash \
         relay.loadBalancer.consistentHash.type relay.loadBalancer.slowStart \
         relay.loadBalancer.slowStart.window relay.loadBalancer.topology \
         relay.loadBalancer.type relay.proxyProtocol relay.proxyProtocol.version relay.targets \
         t.address t.address.host t.address.port t.name t.priority t.service t.service.name \
         t.service.namespace t.service.port t.weight relay.tcp relay.via \
         relay.via.caSecretRef relay.via.caSecretRef.name relay.via.credentials relay.via.credentials.secretRef \
         relay.via.credentials.secretRef.name relay.via.proxy relay.via.proxy.host \
         relay.via.proxy.port relay.via.proxy.scheme timeouts timeouts.halfClosed timeouts.idle \
         timeouts.maxConnectionAge"
    );
}

/// The name of a socket option, and whose it is.
fn option_of(path: &str) -> Option<(&str, &str)> {
    let sides = ["listener", "relay"];
    let of = |side| {
        path.strip_prefix("spec.")?
            .strip_prefix(side)?
            .strip_prefix(".tcp.")
    };
    sides.into_iter().find_map(|side| Some((side, of(side)?)))
}

#[test]
fn both_sides_have_these_socket_options() {
    for wanted in ["listener", "relay"] {
        let mut names = Vec::new();
        fields_of(Kind::TcpForward, &mut |path, _| {
            let name = option_of(path).filter(|(side, _)| *side == wanted);
            names.extend(name.map(|(_, name)| name.to_owned()));
        });
        assert_eq!(
            names.join(" "),
            "congestionControl fastOpen maxSegmentSize multipath noDelay notSentLowat \
             receiveBuffer sendBuffer tcpKeepalive tcpKeepalive.idleTime tcpKeepalive.interval \
             tcpKeepalive.probes trafficClass userTimeout"
        );
    }
}

#[test]
fn the_fields_of_a_pool_are_these_and_no_others() {
    let mut all = Vec::new();
    fields_of(Kind::DataPlane, &mut |path, _| {
        if !path.ends_with("[]") && !path.contains(".conditions[].") {
            all.push(path.replace("allowedNamespaces.", "a."));
        }
    });
    assert_eq!(
        all.join(" "),
        "spec spec.addressTargets spec.allowedExposeTypes spec.allowedNamespaces spec.a.from spec.a.selector \
         spec.a.selector.matchExpressions spec.a.selector.matchExpressions[].key \
         spec.a.selector.matchExpressions[].operator spec.a.selector.matchExpressions[].values \
         spec.a.selector.matchLabels spec.connectModes spec.hostNetwork spec.limits \
         spec.limits.connectionsPerForward spec.limits.forwardsPerNamespace spec.podNamespace \
         spec.ports spec.ports[].endPort spec.ports[].namespaces spec.ports[].port \
         spec.serviceAccountName status status.conditions status.observedGeneration status.pods \
         status.pods.connected status.pods.pending status.pods.pending[].message \
         status.pods.pending[].pod status.pods.pending[].reason status.pods.ready \
         status.pods.serving status.pods.summary status.versions status.versions[].pods \
         status.versions[].version"
    );
}

#[test]
fn columns_are_those_of_the_design() {
    let expected = [
        (
            Kind::TcpForward,
            "Port0 Address0 Backends0 Ready0 Reason0 Age0 Pool1 Pods1 Message1",
        ),
        (
            Kind::DataPlane,
            "Namespace0 Pods0 Ready0 Reason0 Age0 ServiceAccount1 Version1 Message1",
        ),
    ];
    for (kind, columns) in expected {
        assert_eq!(columns_of(kind).join(" "), columns);
    }
}

fn columns_of(kind: Kind) -> Vec<String> {
    let json = serde_json::to_value(definition(kind)).unwrap();
    json["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{}{}",
                c["name"].as_str().unwrap(),
                c["priority"].as_i64().unwrap_or(0)
            )
        })
        .collect()
}

#[test]
fn the_rule_and_the_types_name_the_same_defaults() {
    assert_eq!(defaults::DIAL_TIMEOUT, Duration::from_secs(1));
    assert_eq!(defaults::DIAL_DEADLINE, Duration::from_secs(5));
    assert_eq!(defaults::CHECK_TIMEOUT, Duration::from_secs(1));
    assert_eq!(defaults::CHECK_INTERVAL, Duration::from_secs(5));
    for text in [
        defaults::TIMEOUT_WITHIN_DEADLINE,
        defaults::TIMEOUT_BEYOND_DEADLINE,
        defaults::TIMEOUT_WITHIN_INTERVAL,
        defaults::TIMEOUT_BEYOND_INTERVAL,
    ] {
        assert!(text.contains("1s") && text.contains("5s"), "{text}");
    }
    for text in [
        defaults::HEDGE_WITHIN_TIMEOUT,
        defaults::HEDGE_BEYOND_TIMEOUT,
    ] {
        assert!(text.contains("'1s"), "{text}");
    }
}
