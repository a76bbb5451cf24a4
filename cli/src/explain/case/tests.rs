use tcpforward_dataplane::connect::names::NameError;
use tcpforward_protocol::snapshot::{
    Action, BackendState, HostPattern, HttpConnect, PolicyMode, Rule, User,
};
use tcpforward_protocol::testing;

use super::*;
use crate::explain::show::{Head, json, text};

const HASH: &str = "$2y$08$Fq3uVwDkM5yTz8bXhN1CgevBWlIs2IDONlVewiuypwGnysW39S2XG";

/// A question that the proxy of these rules gets: `user!host:port`, looked up to these addresses.
struct Rig {
    connect: HttpConnect,
    listener: Listener,
    from: Option<IpAddr>,
    place: Place,
    users: Users,
    trouble: Option<&'static str>,
}

fn rule(name: &str, edit: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = testing::rule(name);
    edit(&mut rule);
    rule
}

fn rig(rules: Vec<Rule>) -> Rig {
    Rig {
        connect: testing::connect(rules),
        listener: Listener::plain(3128.try_into().unwrap(), None),
        from: None,
        place: Place::Cluster,
        users: Users::Known,
        trouble: None,
    }
}

/// Hosts below example.com and the network 10.1.0.0/16 are fine, one host and all of port 25 are not.
fn usual() -> Rig {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|n| HostPattern::parse(n).unwrap())
            .collect()
    };
    rig(vec![
        rule("no-ads", |rule| {
            rule.action = Action::Deny;
            rule.hosts = names(&["ads.example.com"]);
        }),
        rule("crawl", |rule| rule.hosts = names(&["*.example.com"])),
        rule("inside", |rule| {
            rule.cidrs = vec!["10.1.0.0/16".parse().unwrap()]
        }),
    ])
}

impl Rig {
    fn users(mut self, users: &[&str]) -> Self {
        let user = |name: &&str| User {
            name: (*name).to_owned(),
            hash: HASH.to_owned(),
        };
        self.connect.users = Some(users.iter().map(user).collect());
        self
    }

    fn ask<T>(&self, asked: &str, then: impl FnOnce(&Case<'_>) -> T) -> T {
        let (user, target) = match asked.split_once('!') {
            Some((user, target)) => (Some(user), target),
            None => (None, asked),
        };
        then(&Case {
            proxy: &Proxy::new(&self.connect),
            listener: &self.listener,
            settings: Settings::new(match self.place {
                Place::Cluster => LocalTargets::Refuse,
                Place::Manifests => LocalTargets::Allow,
            }),
            place: self.place,
            target: &Target::parse(target.as_bytes()).unwrap(),
            user,
            from: self.from,
            users: self.users.clone(),
            trouble: self.trouble,
        })
    }

    fn explain(&self, asked: &str, addresses: &[&str]) -> Explanation {
        self.ask(asked, |case| match case.begin() {
            Next::Said(explanation) => explanation,
            Next::Addresses if addresses.is_empty() => case.without_addresses(),
            Next::Addresses => {
                let addresses = addresses.iter().map(|a| a.parse().unwrap());
                case.by_addresses(&Ok(addresses.collect()))
            }
            Next::Service { rule, service } => case.by_service(rule, &service, None),
        })
    }

    /// The verdict in one line, and those of the addresses.
    fn says(&self, asked: &str, addresses: &[&str]) -> (Answer, String, Vec<String>) {
        let Explanation {
            answer,
            reason,
            ways,
            ..
        } = self.explain(asked, addresses);
        (
            answer,
            reason,
            ways.into_iter().map(|way| way.what).collect(),
        )
    }
}

#[test]
fn each_address_has_a_verdict_and_the_rule_is_named() {
    let rig = usual();
    assert_eq!(
        rig.says(
            "db.example.com:443",
            &["93.184.215.14", "10.0.0.7", "10.1.0.7"]
        ),
        (
            Answer::Open,
            "allowed by rules crawl, inside".to_owned(),
            vec![
                "allowed by rule crawl".to_owned(),
                "refused: private, and rule crawl has no entry in cidrs for it".to_owned(),
                "allowed by rule inside".to_owned(),
            ]
        )
    );
    let (answer, reason, _) = rig.says("db.example.com:443", &["10.0.0.7"]);
    assert_eq!(answer, Answer::Refused(Refusal::AddressProhibited));
    assert_eq!(
        reason,
        "refused: private, and rule crawl has no entry in cidrs for it"
    );
    let (_, reason, _) = rig.says("db.example.com:443", &["10.0.0.7", "169.254.169.254"]);
    assert_eq!(reason, "refused: none of its addresses may be dialled");
}

#[test]
fn what_is_refused_says_by_what_and_what_the_client_gets() {
    let rig = usual();
    let denied = Answer::Refused(Refusal::Denied);
    let explanation = rig.explain("ads.example.com:443", &[]);
    assert_eq!(explanation.answer, denied);
    assert_eq!(explanation.rule.as_deref(), Some("no-ads"));
    assert_eq!(explanation.reason, "refused by rule no-ads");
    let (answer, reason, _) = rig.says("db.example.com:25", &[]);
    assert_eq!(
        (answer, reason.as_str()),
        (denied, "refused: no rule allows it")
    );
    let failed = rig.ask("x.example.com:443", |case| {
        case.by_addresses(&Err(NameError::NotFound))
    });
    assert_eq!(failed.answer, Answer::Refused(Refusal::DnsError(Some(3))));
    assert_eq!(
        failed.reason,
        "refused: DNS says that there is no such name"
    );
}

#[test]
fn without_addresses_a_name_is_judged_as_far_as_it_goes() {
    let (answer, reason, ways) = usual().says("db.example.com:443", &[]);
    assert_eq!(answer, Answer::Perhaps);
    assert!(answer.is_allowed() && reason.starts_with("not refused by its name"));
    assert_eq!(ways, [""; 0]);
}

#[test]
fn a_name_that_a_parent_looks_up_is_not_looked_up_here() {
    let via = testing::via("proxy.corp", 3128);
    let asked = |asked: &str| usual().ask(asked, |case| case.by_parent(&via));
    let said = asked("db.example.com:443").unwrap();
    assert_eq!(
        (said.answer, said.rule.as_deref()),
        (Answer::Perhaps, Some("crawl"))
    );
    assert_eq!(
        said.notes,
        ["the parent proxy, proxy.corp port 3128, is asked for it and may refuse it"]
    );
    // A rule with cidrs comes first, or it is an address.
    assert_eq!(asked("db.example.org:443"), None);
    assert_eq!(asked("10.1.0.7:443"), None);
}

#[test]
fn who_does_not_say_who_they_are_is_told_so() {
    let rig = usual().users(&["ci"]);
    let (answer, ..) = rig.says("db.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Refused(Refusal::CredentialsMissing));
    let (answer, reason, _) = rig.says("cd!db.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Refused(Refusal::CredentialsWrong));
    assert_eq!(reason, "refused: cd is none of the users");
    let (answer, ..) = rig.says("ci!db.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Open);
    let broken = Rig {
        trouble: Some("nobody gets in: Secret users does not exist"),
        ..usual().users(&[])
    };
    let (_, reason, _) = broken.says("ci!db.example.com:443", &["93.184.215.14"]);
    assert_eq!(
        reason,
        "refused: nobody gets in: Secret users does not exist"
    );
}

#[test]
fn a_secret_that_is_not_known_is_a_note() {
    let mut rig = usual().users(&[]);
    rig.users = Users::Unknown("Secret shop/users can't be read".to_owned());
    rig.connect.rules[1].subjects = vec![Subject::User("ci".to_owned())];
    let explanation = rig.explain("ci!db.example.com:443", &["93.184.215.14"]);
    assert_eq!(explanation.answer, Answer::Open);
    assert!(explanation.notes[0].contains("taken for granted"));
    let (answer, ..) = rig.says("cd!db.example.com:443", &[]);
    // By the rule with cidrs.
    assert_eq!(answer, Answer::Perhaps);
    let (answer, ..) = rig.says("db.example.com:443", &[]);
    assert_eq!(answer, Answer::Refused(Refusal::CredentialsMissing));
    let open = usual().explain("ci!db.example.com:443", &["93.184.215.14"]);
    assert!(open.notes[0].contains("counts for nothing"), "{open:?}");
}

#[test]
fn clients_from_elsewhere_are_reset() {
    let mut rig = usual();
    rig.listener.source_ranges = vec!["10.0.0.0/8".parse().unwrap()];
    let notes = rig.explain("db.example.com:443", &["93.184.215.14"]).notes;
    assert!(notes[0].contains("10.0.0.0/8"), "{notes:?}");
    rig.from = Some("192.0.2.1".parse().unwrap());
    let (answer, ..) = rig.says("db.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Reset(Ending::SourceNotAllowed));
    rig.from = Some("::ffff:10.0.0.1".parse().unwrap());
    let (answer, ..) = rig.says("db.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Open);
}

#[test]
fn report_lets_through_and_says_what_enforce_would_say() {
    let mut rig = usual();
    rig.connect.mode = PolicyMode::Report;
    rig.place = Place::Manifests;
    let (answer, reason, _) = rig.says("ads.example.com:443", &["93.184.215.14"]);
    assert_eq!(answer, Answer::Open);
    assert_eq!(
        reason,
        "let through because mode is Report; Enforce: refused by rule no-ads"
    );
    let (answer, reason, _) = rig.says("ads.example.com:443", &["169.254.169.254"]);
    assert_eq!(answer, Answer::Refused(Refusal::AddressProhibited));
    assert!(reason.contains("metadata"), "{reason}");
}

#[test]
fn what_only_a_laptop_may_dial_says_so() {
    let mut rig = rig(vec![rule("all", |rule| {
        rule.cidrs = vec!["127.0.0.0/8".parse().unwrap()]
    })]);
    rig.place = Place::Manifests;
    let (answer, _, ways) = rig.says("127.0.0.1:443", &["127.0.0.1"]);
    assert_eq!(answer, Answer::Open);
    assert!(ways[0].contains("in a cluster refused"), "{ways:?}");
    rig.place = Place::Cluster;
    let (answer, _, ways) = rig.says("127.0.0.1:443", &["127.0.0.1"]);
    assert_eq!(answer, Answer::Refused(Refusal::AddressProhibited));
    assert!(ways[0].contains("loopback"), "{ways:?}");
}

#[test]
fn a_service_is_as_good_as_its_backends() {
    let db = ServiceName {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
    };
    let rig = rig(vec![rule("db", |rule| rule.services = vec![db.clone()])]);
    let mut backends = vec![testing::backend("shop/db:443", "10.2.0.7:8443")];
    let ask = |found: Option<Resolved>| {
        rig.ask("db.shop.svc:443", |case| match case.begin() {
            Next::Service { rule, service } => case.by_service(rule, &service, found),
            _ => panic!("it is a Service"),
        })
    };
    let some = ask(Some(Resolved {
        backends: backends.clone(),
        unresolved: None,
    }));
    assert_eq!(some.answer, Answer::Open);
    assert_eq!(some.reason, "allowed by rule db, to Service shop/db");
    assert_eq!(
        (some.ways[0].address.as_str(), some.ways[0].what.as_str()),
        ("10.2.0.7:8443", "ready")
    );
    backends[0].state = BackendState::NotReady;
    backends[0].takes_new = TakesNew::No;
    let none = ask(Some(Resolved {
        backends,
        unresolved: None,
    }));
    assert_eq!(none.answer, Answer::Refused(Refusal::NoBackend));
    assert_eq!(none.ways[0].what, "not ready, takes no new tunnels");
    assert_eq!(ask(None).answer, Answer::Perhaps);
}

#[test]
fn people_and_programs_hear_the_same() {
    let rig = usual();
    let target = Target::parse(b"db.example.com:443").unwrap();
    let head = Head {
        forward: &tcpforward_protocol::snapshot::ForwardName::new("shop", "out"),
        mode: Some(PolicyMode::Enforce),
        target: &target,
        user: Some("ci"),
        from: Some("10.1.2.3".parse().unwrap()),
    };
    let mut explanation = rig.explain("db.example.com:443", &["93.184.215.14", "10.0.0.7"]);
    explanation.notes.clear();
    assert_eq!(
        text(&head, &explanation),
        "forward shop/out (Enforce), db.example.com:443 as ci from 10.1.2.3\n\
         allowed by rule crawl\n  \
           93.184.215.14  allowed by rule crawl\n  \
           10.0.0.7       refused: private, and rule crawl has no entry in cidrs for it\n\
         the client gets 200 once one of them is connected\n"
    );
    let said = json(&head, &explanation);
    assert_eq!(said["allowed"], true);
    assert_eq!(said["rule"], "crawl");
    assert_eq!(said["addresses"][1]["allowed"], false);
    let refused = rig.explain("ads.example.com:443", &[]);
    let said = json(&head, &refused);
    assert_eq!(said["status"], 403);
    assert_eq!(said["ending"], "http_request_denied");
    let said = text(&head, &refused);
    assert!(
        said.contains("the client gets 403 Forbidden, Proxy-Status: tcpforward;"),
        "{said}"
    );
}
