//! What Windows and Office show when discovery fails (facts that Microsoft documents).

use crate::model::LookupOutcome;
use crate::model::finding::ClientError;

/// The DNS name does not exist.
pub const NAME_DOES_NOT_EXIST: ClientError = ClientError(0x8007_232B);
/// The name exists, without SRV records.
pub const NO_RECORDS: ClientError = ClientError(0x8007_251D);
/// No KMS could be contacted: every host failed.
pub const NO_KMS_CONTACTED: ClientError = ClientError(0xC004_F074);
/// The client has no suffix, and sends no query.
pub const NO_SUFFIX: ClientError = ClientError(0x8007_007B);
/// Too few machines asked the host (25 clients, 5 servers, 5 Office) for it to activate any.
pub const COUNT_INSUFFICIENT: ClientError = ClientError(0xC004_F038);
/// What event 12288 holds for a host that does not answer: the RPC server is unavailable.
pub const RPC_UNAVAILABLE: ClientError = ClientError(0x8007_06BA);

const DNS_SERVER_FAILURE: ClientError = ClientError(0x8007_232A);
const DNS_FORMAT_ERROR: ClientError = ClientError(0x8007_2329);
const DNS_NOT_IMPLEMENTED: ClientError = ClientError(0x8007_232C);
const DNS_REFUSED: ClientError = ClientError(0x8007_232D);
/// What a silent DNS server presumably ends in; not verified on Windows.
const WAIT_TIMED_OUT: ClientError = ClientError(0x8007_05B4);

/// What a client shows whose only DNS server answers the SRV question so; `None` for records, and
/// for an answer that cannot be parsed (nobody documents what Windows makes of it).
pub fn of_lookup(outcome: LookupOutcome) -> Option<ClientError> {
    match outcome {
        LookupOutcome::Records | LookupOutcome::Malformed => None,
        LookupOutcome::Nxdomain => Some(NAME_DOES_NOT_EXIST),
        LookupOutcome::Nodata | LookupOutcome::Referral => Some(NO_RECORDS),
        LookupOutcome::Servfail | LookupOutcome::OtherRcode => Some(DNS_SERVER_FAILURE),
        LookupOutcome::Refused => Some(DNS_REFUSED),
        LookupOutcome::Notimp => Some(DNS_NOT_IMPLEMENTED),
        LookupOutcome::Formerr => Some(DNS_FORMAT_ERROR),
        LookupOutcome::Timeout | LookupOutcome::Unreachable => Some(WAIT_TIMED_OUT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_the_code_that_windows_shows() {
        let shown: Vec<String> = LookupOutcome::ALL
            .iter()
            .map(|outcome| {
                let code = of_lookup(*outcome).map_or("-".to_owned(), |code| code.to_string());
                format!("{outcome} {code}")
            })
            .collect();
        let expected = [
            "records -",
            "nxdomain 0x8007232B",
            "nodata 0x8007251D",
            "referral 0x8007251D",
            "servfail 0x8007232A",
            "refused 0x8007232D",
            "notimp 0x8007232C",
            "formerr 0x80072329",
            "other-rcode 0x8007232A",
            "timeout 0x800705B4",
            "unreachable 0x800705B4",
            "malformed -",
        ];
        assert_eq!(shown, expected);
    }
}
