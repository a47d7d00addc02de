//! Probes of an RPC runtime that somebody else wrote.

#[path = "peers/impacket.rs"]
mod impacket;

use impacket::{ENDPOINT_MAPPER, KMS, RpcServer};
use kmswatch::model::plan::ProbeSettings;
use kmswatch::model::{EndpointKey, ProbeOutcome};
use kmswatch::probe::probe;

#[tokio::test]
async fn impacket_is_told_apart_by_what_it_has_registered() {
    for (interface, control, expected, detail) in [
        (KMS, true, ProbeOutcome::Kms, None),
        (KMS, false, ProbeOutcome::Kms, None),
        (
            ENDPOINT_MAPPER,
            true,
            ProbeOutcome::RpcOther,
            Some(
                "KMS interface rejected, result 1 reason 1 (interface not supported); \
                 control interface rejected, result 1 reason 1 (interface not supported)",
            ),
        ),
        (
            ENDPOINT_MAPPER,
            false,
            ProbeOutcome::RpcOther,
            Some("KMS interface rejected, result 1 reason 1 (interface not supported)"),
        ),
    ] {
        let server = RpcServer::start(interface);
        let settings = ProbeSettings { control, ..ProbeSettings::default() };
        let key = EndpointKey { path: std::sync::Arc::default(), address: server.address() };
        // It takes one connection at a time: the second probe shows that the first one let go.
        for _ in 0..2 {
            let probe = probe(&key, &settings).await;
            assert_eq!((probe.outcome, probe.detail.as_deref()), (expected, detail));
            assert!(probe.connect.is_some() && probe.bind.is_some());
        }
    }
}
