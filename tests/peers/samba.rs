//! Samba's RPC runtime by itself, with its registry service: no domain, no shares.
//!
//! Include it with `#[path = "peers/samba.rs"] mod samba;`.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// Ended when dropped, with the workers that it started.
pub struct Samba {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

const FOLDER: &str = "/usr/libexec/samba";

impl Samba {
    /// Starts it on a free port of 127.0.0.1, and waits until it listens.
    pub fn start() -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let address = free.expect("a free port");
            let config = folder.path().join("smb.conf");
            std::fs::write(&config, configuration(folder.path(), address.port())).expect("written");
            let log = File::create(folder.path().join("out")).expect("a log");
            let child = Command::new(format!("{FOLDER}/samba-dcerpcd"))
                .arg("-F")
                .arg(format!("--configfile={}", config.display()))
                .arg("--debug-stdout")
                .arg(format!("{FOLDER}/rpcd_winreg"))
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("the log"))
                .stderr(log)
                .spawn()
                .expect("samba is installed");
            let mut samba = Self { child, address, folder };
            if samba.wait_until_ready() {
                return samba;
            }
            let log = std::fs::read_to_string(samba.folder.path().join("out"));
            eprintln!("samba does not listen: {log:?}");
        }
        panic!("samba does not start");
    }

    /// Where its registry service answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait_until_ready(&mut self) -> bool {
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience && self.child.try_wait().expect("its state").is_none() {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        // It ends its workers where it is asked to end, and not where it is killed.
        let id = self.child.id().to_string();
        let asked = Command::new("kill").arg(id).status();
        if !asked.is_ok_and(|status| status.success()) {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

/// Everything below one folder, and one port to listen on.
fn configuration(folder: &Path, port: u16) -> String {
    let folders = ["private dir", "lock directory", "state directory", "cache directory"];
    let folders = folders.into_iter().chain(["pid directory", "ncalrpc dir"]);
    let at = folder.display();
    let folders: Vec<String> = folders.map(|name| format!("{name} = {at}/{name}\n")).collect();
    for line in &folders {
        let (_, path) = line.trim_end().split_once(" = ").expect("made above");
        std::fs::create_dir(path).expect("a folder");
    }
    format!(
        "[global]\nworkgroup = W\nnetbios name = PEER\nserver role = standalone\ninterfaces = 127.0.0.1\n\
         bind interfaces only = yes\nrpc start on demand helpers = no\nlog file = {at}/log\n\
         rpc server dynamic port range = {port}-{port}\n{}",
        folders.concat()
    )
}
