//! Real DNS servers on loopback, each on a free high port in a folder of its own, ended on drop.

#![allow(dead_code, reason = "each test file uses some of them")]

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// A zone: its name, and its records below `$TTL`, SOA and NS lines that are added.
#[derive(Debug, Clone, Copy)]
pub struct Zone<'a> {
    pub name: &'a str,
    pub records: &'a str,
}

/// What every server must be understood to say of; the server of `lame` is not there.
pub const CONTOSO: Zone<'static> = Zone { name: "contoso.test", records: RECORDS };

const RECORDS: &str = "
_vlmcs._tcp SRV 10 75 1688 kms1
_vlmcs._tcp SRV 20 25 1689 kms2
_vlmcs._tcp.alias CNAME _vlmcs._tcp
_vlmcs._tcp.outside CNAME _vlmcs._tcp.other.test.
_vlmcs._tcp.declined SRV 0 0 0 .
_vlmcs._tcp.text TXT \"no record\"
lame NS ns.lame
ns.lame A 127.0.0.9
kms1 A 127.0.0.2
kms1 A 127.0.0.1
kms1 AAAA ::1
kms2 CNAME kms1
";

impl Zone<'_> {
    fn write(&self, folder: &Path) {
        let text = format!(
            "$ORIGIN {}.\n$TTL 300\n@ SOA ns1 admin 1 3600 600 86400 300\n@ NS ns1\nns1 A 127.0.0.1\n{}\n",
            self.name, self.records
        );
        std::fs::write(folder.join(format!("{}.zone", self.name)), text).expect("a zone file");
    }
}

/// A running server of any make.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Where it answers, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// It falls silent, but its port stays open.
    pub fn pause(&self) {
        self.signal("-STOP");
        // The signal stops the threads one by one, and on a busy machine that takes a moment.
        let patience = Instant::now() + Duration::from_secs(5);
        while !self.is_stopped() {
            assert!(Instant::now() < patience, "it does not stop");
            std::thread::yield_now();
        }
    }

    /// Whether every thread is.
    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        threads.expect("its threads").flatten().all(|thread| {
            let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    /// It goes on after [`Server::pause`].
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// It ends now; its port is closed.
    pub fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("it can be waited for");
    }

    /// Changes a zone: lines of nsupdate, such as `update delete NAME SRV`; where updates are
    /// allowed.
    pub fn update(&self, lines: &str) {
        let mut child = Command::new("nsupdate")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsupdate is installed");
        let address = self.address();
        let script = format!("server {} {}\n{lines}\nsend\n", address.ip(), address.port());
        child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it listens");
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "nsupdate: {lines}: {said}{}", self.log());
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(status.success(), "kill {signal} {id}");
    }

    /// Starts `command` with what `configure` makes of folder and port, and waits until it answers
    /// for `name` without SERVFAIL.
    pub fn start(name: &str, configure: impl Fn(&Path, u16) -> Command) -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let address = free_address();
            let log = File::create(folder.path().join("log")).expect("a log");
            let child = configure(folder.path(), address.port())
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("the log"))
                .stderr(log)
                .spawn()
                .expect("the server's program is installed");
            let mut server = Self { child, folder, address };
            if server.wait_until_ready(name) {
                return server;
            }
            let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            eprintln!("no answer on {address} for {name}; its log:\n{log}");
        }
        panic!("the server does not start");
    }

    fn wait_until_ready(&mut self, name: &str) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(self.address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let mut answer = [0; 512];
        for _ in 0..400 {
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            let sent = socket.send(&soa_query(name));
            match sent.and_then(|_| socket.recv(&mut answer)) {
                Ok(length) if length > 3 && answer[3] & 0xf != 2 => return true,
                Ok(_) => std::thread::park_timeout(Duration::from_millis(20)),
                // A closed port fails at once; it opens in a moment.
                Err(_) => std::thread::park_timeout(Duration::from_millis(10)),
            }
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// BIND, primary for some zones, open for updates.
#[derive(Debug)]
pub struct Bind(Server);

impl Bind {
    /// Starts it.
    pub fn start(zones: &[Zone<'_>]) -> Self {
        Self::start_with("", zones)
    }

    /// Starts it with more lines for its `options`.
    pub fn start_with(options: &str, zones: &[Zone<'_>]) -> Self {
        Self(Server::start(zones[0].name, |folder, port| {
            let mut text = format!(
                "options {{ directory \"{folder}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                 pid-file none; session-keyfile \"{folder}/session.key\"; recursion no;
                 dnssec-validation no; notify no; {options} }};\ncontrols {{ }};\n",
                folder = folder.display()
            );
            text += &written(zones, folder, |name| {
                format!(
                    "zone \"{name}\" {{ type primary; file \"{name}.zone\"; allow-update {{ any; }}; }};\n"
                )
            });
            configured(folder, "named", &["-g", "-n", "1", "-c"], &text)
        }))
    }
}

impl std::ops::Deref for Bind {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl std::ops::DerefMut for Bind {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

/// Knot with one UDP worker.
pub fn knot(zones: &[Zone<'_>]) -> Server {
    Server::start(zones[0].name, |folder, port| {
        let at = folder.display();
        let mut text = format!(
            "server:\n  listen: 127.0.0.1@{port}\n  rundir: {at}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {at}\nlog:\n  - target: stderr\n    any: warning\nzone:\n"
        );
        text += &written(zones, folder, |name| {
            format!(
                "  - domain: {name}\n    storage: {at}\n    file: {name}.zone\n    zonefile-sync: -1\n    journal-content: none\n"
            )
        });
        configured(folder, "knotd", &["-c"], &text)
    })
}

/// NSD, which does not know cookies unless told, with an EDNS size of 512.
pub fn nsd(zones: &[Zone<'_>]) -> Server {
    Server::start(zones[0].name, |folder, port| {
        let at = folder.display();
        let mut text = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  zonesdir: \"{at}\"\n\
             \x20 pidfile: \"{at}/nsd.pid\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/zone.list\"\n\
             \x20 logfile: \"\"\n  server-count: 1\n  rrl-ratelimit: 0\n  ipv4-edns-size: 512\nremote-control:\n  control-enable: no\n"
        );
        text += &written(zones, folder, |name| {
            format!("zone:\n  name: {name}\n  zonefile: {name}.zone\n")
        });
        configured(folder, "nsd", &["-d", "-c"], &text)
    })
}

/// Unbound, which has these local records and forwards nothing.
pub fn unbound(records: &[&str], lines: &str) -> Server {
    Server::start("nx.test", |folder, port| {
        let at = folder.display();
        let data: String =
            records.iter().flat_map(|record| ["  local-data: \"", record, "\"\n"]).collect();
        let text = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n\
             \x20 pidfile: \"{at}/unbound.pid\"\n  use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n\
             \x20 module-config: \"iterator\"\n  local-zone: \"nx.test\" always_nxdomain\n{lines}{data}"
        );
        configured(folder, "unbound", &["-d", "-c"], &text)
    })
}

/// `PowerDNS` with its zones in `SQLite`; `orphan` is a zone that has KMS records and no SOA record.
pub fn powerdns(zones: &[Zone<'_>], orphan: &str) -> Server {
    Server::start(zones[0].name, |folder, port| {
        let at = folder.display();
        let text = format!(
            "launch=gsqlite3\ngsqlite3-database={at}/zones.db\nlocal-address=127.0.0.1:{port}\nsocket-dir={at}\n\
             daemon=no\nguardian=no\nexpand-alias=no\n"
        );
        std::fs::write(folder.join("pdns.conf"), text).expect("a config");
        let schema = std::fs::read_to_string(POWERDNS_SCHEMA).expect("its backend is installed");
        let database = folder.join("zones.db");
        let sql = |sql: &str| run(Command::new("sqlite3").arg(&database).arg(sql));
        sql(&schema);
        for zone in zones {
            zone.write(folder);
            let file = folder.join(format!("{}.zone", zone.name));
            let config = format!("--config-dir={at}");
            run(Command::new("pdnsutil").args([&config, "load-zone", zone.name]).arg(file));
        }
        sql(&format!("insert into domains (name, type) values ('{orphan}', 'NATIVE');
            insert into records (domain_id, name, type, content, ttl) select id, '_vlmcs._tcp.{orphan}',
            'SRV', '0 0 1688 kms.{orphan}', 300 from domains where name = '{orphan}';"));
        let mut command = Command::new("pdns_server");
        command.arg(format!("--config-dir={at}"));
        command
    })
}

const POWERDNS_SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}

/// dnsmasq with these arguments; it answers for `local.test` only.
pub fn dnsmasq(arguments: &[&str]) -> Server {
    Server::start("local.test", |_, port| {
        let mut command = Command::new("dnsmasq");
        command.args(["-k", "-p", &port.to_string(), "-C", "/dev/null"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv"]);
        command.args(["--no-hosts", "--log-facility=-", "--pid-file=", "--user=root"]);
        command.arg("--local=/local.test/").args(arguments);
        command
    })
}

/// Writes the zones, and returns what the config says of them.
fn written(zones: &[Zone<'_>], folder: &Path, says: impl Fn(&str) -> String) -> String {
    zones.iter().for_each(|zone| zone.write(folder));
    zones.iter().map(|zone| says(zone.name)).collect()
}

/// A program with its config, whose name is its last argument.
pub fn configured(folder: &Path, program: &str, arguments: &[&str], config: &str) -> Command {
    let file = folder.join(format!("{program}.conf"));
    std::fs::write(&file, config).expect("a config");
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    command
}

/// A port that is free for UDP and TCP; another program may take it before the server does, which
/// is why a start is tried again.
fn free_address() -> SocketAddr {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn soa_query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 6, 0, 1]);
    query
}
