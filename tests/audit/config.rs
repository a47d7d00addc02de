//! The `[config]` of a scenario: a config of the program, with the few keys that an audit depends on at
//! the top.

use kmswatch::config::parse;
use kmswatch::model::Plan;
use toml::{Table, Value};

/// The plan of a config; without `resolver`, it is hq with the server 10.0.0.53.
pub fn plan_of(mut config: Table) -> Result<Plan, String> {
    // The one field of a plan that only tests change.
    let kms_port = config.remove("kms_port");
    let audit = ["interval", "stale_after", "vanished_for", "settle"].map(|key| ("audit", key));
    for (section, key) in audit.into_iter().chain([("probe", "depth"), ("probe", "slow")]) {
        if let Some(value) = config.remove(key) {
            let section = config.entry(section).or_insert_with(|| Table::new().into());
            section.as_table_mut().expect("a section").insert(key.to_owned(), value);
        }
    }
    let standard = || "[[r]]\nname = \"hq\"\nservers = [\"10.0.0.53\"]".parse::<Table>();
    if !config.contains_key("resolver") {
        config.insert("resolver".to_owned(), standard().expect("TOML")["r"].clone());
    }
    for exception in config.get_mut("exception").and_then(Value::as_array_mut).into_iter().flatten()
    {
        let exception = exception.as_table_mut().ok_or("an exception is a table")?;
        exception.entry("reason").or_insert_with(|| "a scenario".into());
    }
    let text = toml::to_string(&config).map_err(|error| error.to_string())?;
    let mut plan = parse(&text, "scenario.toml").map_err(|errors| errors.to_string())?.plan;
    if let Some(port) = kms_port {
        let port = port.as_integer().and_then(|port| u16::try_from(port).ok());
        plan.kms_port = port.ok_or("kms_port is no port")?;
    }
    Ok(plan)
}
