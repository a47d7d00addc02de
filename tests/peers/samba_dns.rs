//! Samba's own DNS server, as an Active Directory domain controller has it, and nothing else of one.
//!
//! Include it with `#[path = "peers/samba_dns.rs"] mod samba_dns;`, beside `dns`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::dns::{Server, run};

/// The domain that it is a controller of, and the zone that it serves.
pub const DOMAIN: &str = "contoso.test";

/// Starts one; it takes records by [`Server::update`].
pub fn samba_dns() -> Server {
    let domain = provisioned();
    Server::start(DOMAIN, |folder, port| {
        // The databases only: what else a controller has, DNS does not need.
        run(Command::new("cp").arg("-r").arg(domain.join("private")).arg(folder));
        let config = folder.join("smb.conf");
        std::fs::write(&config, configuration(folder, port)).expect("a config");
        let mut command = Command::new("samba");
        command.args(["--interactive", "--model=single", "--debug-stdout", "-s"]).arg(config);
        command
    })
}

/// Everything below one folder, one service, and one port to listen on.
fn configuration(folder: &Path, port: u16) -> String {
    let folders = ["lock directory", "state directory", "cache directory", "binddns dir"];
    let folders = folders.into_iter().chain(["pid directory", "ncalrpc dir", "private dir"]);
    let at = folder.display();
    folders.fold(
        format!(
            "[global]\nworkgroup = CONTOSO\nrealm = {DOMAIN}\nnetbios name = DC1\n\
             server role = active directory domain controller\ninterfaces = 127.0.0.1\n\
             bind interfaces only = yes\nserver services = dns\ndns port = {port}\ndns forwarder =\n\
             allow dns updates = nonsecure\nlog file = {at}/samba.log\n"
        ),
        |mut text, name| {
            let path = folder.join(name.trim_end_matches(" dir"));
            std::fs::create_dir_all(&path).expect("a folder");
            writeln!(text, "{name} = {}", path.display()).expect("a string grows");
            text
        },
    )
}

/// A domain as `samba-tool` makes it, which takes some ten seconds: kept below `target`, by version.
fn provisioned() -> PathBuf {
    let version = Command::new("samba").arg("--version").output().expect("samba is installed");
    let version = String::from_utf8(version.stdout).expect("text");
    let version = version.split_whitespace().last().expect("a version");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("samba-domain-{version}"));
    if kept.exists() {
        return kept;
    }
    let making = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let target = making.path().join("domain");
    run(Command::new("samba-tool")
        .args(["domain", "provision", "--server-role=dc", "--dns-backend=SAMBA_INTERNAL"])
        .args(["--domain=CONTOSO", "--host-name=dc1", "--host-ip=127.0.0.1"])
        .arg(format!("--realm={DOMAIN}"))
        .args(["--adminpass=Of-this-test-0nly", "--option=interfaces=127.0.0.1"])
        .args(["--option=bind interfaces only=yes"])
        .arg(format!("--targetdir={}", target.display())));
    // Another test may have been faster; then its domain is as good.
    if std::fs::rename(&target, &kept).is_err() {
        assert!(kept.exists(), "{} cannot be kept", kept.display());
    }
    kept
}
