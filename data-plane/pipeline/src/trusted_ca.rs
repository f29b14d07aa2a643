//! Certificates that a destination trusts beside the system's.

use std::{fmt, sync::Arc};

use rustls_pki_types::{
    CertificateDer,
    pem::{PemObject as _, SectionKind},
};
use sha2::{Digest as _, Sha256};

use crate::violation::{Violations, reason};

const FIELD: &str = "destination.trusted_ca_pem";
const MAX_PEM_BYTES: usize = 64 << 10;
const MAX_CERTIFICATES: usize = 32;

/// A set of certificates to trust, each of which can be a trust anchor. Clones share it.
#[derive(Clone)]
pub struct TrustedCa {
    certificates: Arc<[CertificateDer<'static>]>,
    id: [u8; 32],
}

impl TrustedCa {
    /// The certificates, at least one, without repetitions.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The same for two sets with the same certificates, in whatever order and form they were given.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        self.id
    }
}

impl fmt::Debug for TrustedCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedCa").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

/// Compiles PEM (RFC 7468) to trust anchors; empty is none.
pub(crate) fn compile(pem: &str, violations: &mut Violations) -> Option<TrustedCa> {
    if pem.is_empty() {
        return None;
    }
    if pem.len() > MAX_PEM_BYTES {
        violations.add(
            FIELD,
            reason::TOO_LONG,
            format!("the certificates have {} bytes; at most {MAX_PEM_BYTES} (64 KiB) are taken", pem.len()),
        );
        return None;
    }
    match read(pem) {
        Ok(certificates) if certificates.len() > MAX_CERTIFICATES => {
            violations.add(
                FIELD,
                reason::TOO_MANY,
                format!("{} certificates; at most {MAX_CERTIFICATES} are taken", certificates.len()),
            );
            None
        }
        Ok(certificates) => Some(set(certificates)),
        Err(why) => {
            violations.add(FIELD, reason::INVALID_CERTIFICATE, why);
            None
        }
    }
}

fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let number = certificates.len() + 1;
        let (kind, der) = section.map_err(|_| {
            format!(
                "certificate {number} is not PEM: `-----BEGIN CERTIFICATE-----`, base64 and `-----END CERTIFICATE-----` are \
                 expected"
            )
        })?;
        // Whatever else it is, it may be a private key, which has no business here.
        if kind != SectionKind::Certificate {
            return Err("there is something other than certificates: give the CA's certificates alone".to_owned());
        }
        let certificate = CertificateDer::from(der);
        webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|_| format!("certificate {number} is no X.509 certificate that can be trusted"))?;
        certificates.push(certificate);
    }
    match certificates.is_empty() {
        true => Err("there is no PEM certificate: `-----BEGIN CERTIFICATE-----` is expected".to_owned()),
        false => Ok(certificates),
    }
}

fn set(mut certificates: Vec<CertificateDer<'static>>) -> TrustedCa {
    certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    certificates.dedup();
    let mut hash = Sha256::new();
    for certificate in &certificates {
        // Each by its own hash, so that no two sets run into the same bytes.
        hash.update(Sha256::digest(certificate));
    }
    TrustedCa { certificates: certificates.into(), id: hash.finalize().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two self-signed certificates of no importance.
    const ONE: &str = include_str!("../tests/pipeline/ca-one.pem");
    const TWO: &str = include_str!("../tests/pipeline/ca-two.pem");

    fn compiled(pem: &str) -> Result<TrustedCa, &'static str> {
        let mut violations = Violations::default();
        let ca = compile(pem, &mut violations);
        match (ca, violations.into_vec().as_slice()) {
            (Some(ca), []) => Ok(ca),
            (None, [violation]) => {
                assert_eq!(violation.field, FIELD);
                Err(violation.reason)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sets_are_the_same_whatever_their_order() {
        let (forth, back) =
            (compiled(&format!("{ONE}{TWO}")).unwrap(), compiled(&format!("{TWO}\n{ONE}{TWO}")).unwrap());
        assert_eq!((forth.id(), forth.certificates().len()), (back.id(), 2));
        assert_ne!(forth.id(), compiled(ONE).unwrap().id());
        assert_eq!(
            compiled(&format!("a corporate CA\r\n{}", ONE.replace('\n', "\r\n"))).unwrap().certificates().len(),
            1
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
        let unfinished = ONE.replace("-----END CERTIFICATE-----", "");
        let garbled = ONE.replace("MII", "!!!");
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["x", " ", &unfinished, &garbled, other, key, &format!("{ONE}{key}"), &format!("{ONE}{other}")] {
            assert_eq!(compiled(pem).unwrap_err(), reason::INVALID_CERTIFICATE, "{pem}");
        }
        assert_eq!(compiled(&ONE.repeat(33)).unwrap_err(), reason::TOO_MANY);
        assert_eq!(compiled(&"x".repeat((64 << 10) + 1)).unwrap_err(), reason::TOO_LONG);
        assert!(compile("", &mut Violations::default()).is_none());
    }
}
