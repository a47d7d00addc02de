//! dnsdist in front of another server: it answers some names by itself, late or never, and passes on
//! the rest. Include it with `#[path = "peers/dnsdist.rs"] mod dnsdist;`, beside `peers/dns.rs` as `dns`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dns::{Server, configured};

/// How long `delay.fault.test` waits for its answers.
pub const DELAY: Duration = Duration::from_millis(700);

/// What it does below `fault.test`; the rest goes to the server behind it.
const RULES: &str = r#"
for _, name in ipairs({"FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN"}) do
  addAction(name:lower() .. ".fault.test.", RCodeAction(DNSRCode[name]))
end
addAction("badvers.fault.test.", ERCodeAction(DNSRCode.BADVERS))
addAction("drop.fault.test.", DropAction())
addAction(AndRule{makeRule("tc.fault.test."), TCPRule(false)}, TCAction())
addAction(AndRule{makeRule("tcdrop.fault.test."), TCPRule(false)}, TCAction())
addAction(AndRule{makeRule("tcdrop.fault.test."), TCPRule(true)}, DropAction())
addAction(AndRule{makeRule("delay.fault.test."), TCPRule(false)}, DelayAction(DELAY))
-- The first query of a name is lost, those after it pass.
local seen = {}
addAction("lost.fault.test.", LuaAction(function(question)
  local name = question.qname:toString()
  seen[name] = (seen[name] or 0) + 1
  if seen[name] == 1 then return DNSAction.Drop, "" end
  return DNSAction.None, ""
end))
"#;

/// Starts it in front of this server.
pub fn dnsdist(behind: SocketAddr) -> Server {
    Server::start("contoso.test", |folder, port| {
        let rules = RULES.replace("DELAY", &DELAY.as_millis().to_string());
        let text = format!(
            "setLocal(\"127.0.0.1:{port}\")\nsetSecurityPollSuffix(\"\")\n\
             newServer({{address=\"{behind}\", healthCheckMode=\"up\"}})\n{rules}"
        );
        configured(folder, "dnsdist", &["--supervised", "--disable-syslog", "-C"], &text)
    })
}
