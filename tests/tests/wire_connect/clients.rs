//! Programs that people have, each with a right and a wrong password.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::https::Https;
use tcpforward_tests::lab::Lab;
use tcpforward_tests::process::Program;
use tcpforward_tests::programs::{self, workspace_root};
use tcpforward_tests::tunnel::basic;

use super::{PASSWORD, PROXY, Proxy, USERS, WRONG, place, rule, with_users};

/// Only the proxy knows its address.
const HOST: &str = "files.example";
const ADDRESS: [u8; 4] = [10, 77, 0, 1];

/// A file that a client has to bring unchanged.
const FILE_BYTES: usize = 300_000;

/// A client: what it is called, the program for a password, and how it says that the proxy refused.
type Client = (&'static str, fn(&Place<'_>, &str) -> Program, &'static str);

const CLIENTS: [Client; 6] = [
    ("curl", curl, "407"),
    ("git", git, "407"),
    ("requests", requests, "407 Proxy Authentication Required"),
    ("Go", go, "Proxy Authentication Required"),
    ("Node", node, "407 Proxy Authentication Required"),
    ("socat", socat, "Proxy Authentication Required"),
];

struct Place<'a> {
    lab: &'a Lab,
    authority: PathBuf,
    fetch: Program,
}

async fn proxy(lab: &Lab) -> Result<Proxy> {
    let rules = rule(
        "servers",
        "subjects: [{kind: User, name: ci}], hosts: [files.example], cidrs: [10.77.0.1/32], ports: [8443, 2222]",
    );
    let zone = |name: &str| (name == "files.example.").then(|| ADDRESS.into());
    Proxy::start(lab, &with_users(USERS, &rules), zone).await
}

#[test]
fn pitfalls_22_and_29_every_client_gets_through_with_the_right_password_alone() -> Result<()> {
    place(async |lab| {
        let mut file = vec![0; FILE_BYTES];
        fastrand::Rng::with_seed(1).fill(&mut file);
        lab.file("served/file", &file)?;
        repository(lab).await?;
        let folder = lab.folder().join("served");
        let https = Https::start(lab, "10.77.0.1:8443", HOST, &folder).await?;
        // Behind socat: it speaks first, as SSH does, and all at once.
        let greeting = "SSH-2.0-x\r\n".to_owned() + &"y".repeat(FILE_BYTES);
        let banner = Server::start("10.77.0.1:2222", Behaviour::Name(greeting.clone())).await?;
        let proxy = proxy(lab).await?;
        let place = Place {
            lab,
            authority: https.authority.clone(),
            fetch: programs::fetch(lab)?,
        };
        for (name, program, report) in CLIENTS {
            let before = https.accepted() + banner.accepted();
            let wrong = lab.output(&program(&place, WRONG)).await.err();
            let said = format!("{:#}", wrong.with_context(|| format!("{name} got in"))?);
            ensure!(said.contains(report), "{name}, wrong password: {said}");
            let after = https.accepted() + banner.accepted();
            ensure!(after == before, "{name} reached the server");

            let right = lab.output(&program(&place, PASSWORD)).await;
            right.with_context(|| name.to_owned())?;
            let brought = fs::read(lab.folder().join(format!("{name}.out")))?;
            let expected = match name {
                "socat" => greeting.as_bytes(),
                _ => &file,
            };
            ensure!(brought == expected, "{name}: {} bytes", brought.len());
        }
        nothing_is_told(&proxy).await
    })
}

#[test]
fn pitfall_4_ssh_is_greeted_by_the_server_and_not_by_the_proxy() -> Result<()> {
    place(async |lab| {
        let greeting = Behaviour::Name("SSH-2.0-behind_the_proxy\r\n".to_owned());
        let server = Server::start("10.77.0.1:2222", greeting).await?;
        let _proxy = proxy(lab).await?;
        for (password, expected) in [
            (WRONG, "Proxy Authentication Required"),
            (PASSWORD, "remote software version behind_the_proxy"),
        ] {
            // It fails each time: behind its greeting the server has nothing to say.
            let ended = lab.output(&ssh(password)).await.err();
            let said = format!("{:#}", ended.context("it ended well")?);
            ensure!(said.contains(expected), "{password}: {said}");
        }
        ensure!(server.accepted() == 1, "{}", server.accepted());
        Ok(())
    })
}

/// Neither password, nor what a client makes of one, is anywhere.
async fn nothing_is_told(proxy: &Proxy) -> Result<()> {
    let words = proxy.words().await?;
    ensure!(words.contains("files.example:8443"), "{words}");
    for password in [PASSWORD, WRONG] {
        let field = basic(&format!("ci:{password}"));
        let encoded = field.trim_end().rsplit(' ').next().unwrap_or_default();
        for secret in [password, encoded] {
            ensure!(!words.contains(secret), "it tells {secret}");
        }
    }
    ensure!(!words.contains("$2y$"), "it tells a hash");
    Ok(())
}

/// A repository with the file in it, as files that any server can serve.
async fn repository(lab: &Lab) -> Result<()> {
    let script = "git init -q -b main work; cd work; cp ../served/file .; git add .
        git -c user.name=x -c user.email=x@files.example commit -qm x
        git clone -q --bare . ../served/repository.git
        git -C ../served/repository.git update-server-info";
    lab.output(&bash(script)).await.map(drop)
}

fn bash(script: &str) -> Program {
    Program::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
}

fn proxy_url(password: &str) -> String {
    format!("http://ci:{password}@{PROXY}")
}

fn page() -> String {
    format!("https://{HOST}:8443/file")
}

impl Place<'_> {
    /// What each of `tests/clients` takes.
    fn arguments(&self, program: Program, name: &str, password: &str) -> Program {
        program
            .args([proxy_url(password), page()])
            .arg(&self.authority)
            .arg(self.lab.folder().join(format!("{name}.out")))
    }
}

fn curl(place: &Place<'_>, password: &str) -> Program {
    Program::new("curl")
        .args(["-q", "-sS", "--max-time", "20", "-p"])
        .args(["-x", &proxy_url(password), "--cacert"])
        .arg(&place.authority)
        .args(["-o", "curl.out", &page()])
}

fn git(place: &Place<'_>, password: &str) -> Program {
    let authority = place.authority.display();
    let proxy = proxy_url(password);
    bash(&format!(
        "rm -rf clone
        git -c http.proxy={proxy} -c http.sslCAInfo={authority} \\
          clone -q https://{HOST}:8443/repository.git clone
        cp clone/file git.out"
    ))
}

fn requests(place: &Place<'_>, password: &str) -> Program {
    let script = workspace_root().join("tests/clients/fetch.py");
    // Debian's own, which has the package python3-requests.
    let python = Program::new("/usr/bin/python3").arg(script);
    place.arguments(python, "requests", password)
}

fn go(place: &Place<'_>, password: &str) -> Program {
    place.arguments(place.fetch.clone(), "Go", password)
}

fn node(place: &Place<'_>, password: &str) -> Program {
    let script = workspace_root().join("tests/clients/fetch.js");
    place.arguments(Program::new("node").arg(script), "Node", password)
}

fn to_the_banner(password: &str) -> String {
    let (host, port) = PROXY.split_once(':').unwrap_or_default();
    format!("PROXY:{host}:{HOST}:2222,proxyport={port},proxy-authorization=ci:{password}")
}

fn socat(_: &Place<'_>, password: &str) -> Program {
    Program::new("socat").args(["-u", &to_the_banner(password), "CREATE:socat.out"])
}

fn ssh(password: &str) -> Program {
    let command = format!("ProxyCommand=socat - {}", to_the_banner(password));
    Program::new("ssh")
        .args(["-v", "-F", "none", "-o", &command, "-o", "BatchMode=yes"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-p", "2222"])
        .args([HOST, "true"])
}
