"""What officers signed, in the lines of an access log (PROTOCOL.md 2, 11, 15)."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

import rosters
import strict
import wire

TYPE = b"application/vnd.casegate.desk.v3+protobuf"
SKEW_S = 300
ROLES = {1: "bureau", 2: "department", 3: "auditor"}
CHAIN_MAX = 3
# Calls that are noted before they begin: their line comes when they end.
NOTED_FIRST = {"Desk.Import", "Desk.Publish", "Desk.Retract", "Desk.Keygen"}
CLIENT = x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH


def signed_by(certificate, scheme, signature, signed):
    """Says whether the certificate's key made the signature under a TLS scheme."""
    key = certificate.public_key()
    try:
        if scheme == 2055 and isinstance(key, ed25519.Ed25519PublicKey):
            return strict.holds(key.public_bytes_raw(), signature, signed)
        for number, curve, digest in ((1027, ec.SECP256R1, hashes.SHA256),
                                      (1283, ec.SECP384R1, hashes.SHA384)):
            if scheme == number and isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
                    key.curve, curve):
                key.verify(signature, signed, ec.ECDSA(digest()))
                return True
        if scheme == 2052 and isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
            key.verify(signature, signed, pss, hashes.SHA256())
            return True
    except InvalidSignature:
        pass
    return False


def load(der):
    try:
        return x509.load_der_x509_certificate(bytes(der))
    except ValueError:
        return None


def extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def name_of(certificate):
    """The one URI name, or None."""
    names = extension(certificate, x509.SubjectAlternativeName)
    names = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    return names[0] if len(names) == 1 else None


def is_dated(certificate, at):
    return (certificate.not_valid_before_utc.timestamp() <= at
            <= certificate.not_valid_after_utc.timestamp())


def is_issued(certificate, issuer):
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def leads_to(certificate, between, ca, at):
    """Says whether a chain from the certificate ends at the CA."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and CLIENT not in usage:
        return False
    here, left = certificate, list(between)
    while is_dated(here, at):
        if is_issued(here, ca):
            return True
        above = next((one for one in left if is_issued(here, one)), None)
        basic = above and extension(above, x509.BasicConstraints)
        if not basic or not basic.ca:
            return False
        left.remove(above)
        here = above
    return False


class Lines:
    """The lines of one log, in their order."""

    def __init__(self, trust, member):
        self.trust, self.member, self.seen = trust, member, set()

    def check(self, raw, issued_at):
        """The codes of what is wrong with a line."""
        try:
            line = wire.read(raw, wire.ACCESS_LINE, strict=False)
        except wire.Malformed:
            return set()
        if not line["officer_request"]:
            desk = line["outcome"] == "ok" and line["method"].startswith("Desk.")
            return {"officer.unsigned"} if desk else set()
        codes, certificate = set(), load(line["officer_certificate"])
        said = self.said(line, certificate)
        if said is None:
            codes.add("officer.signature")
        elif said:
            if untimely(line, said, issued_at):
                codes.add("officer.untimely")
            if bytes(said["nonce"]) in self.seen:
                codes.add("officer.replayed")
            self.seen.add(bytes(said["nonce"]))
        if certificate is None or not self.counts(line, certificate):
            codes.add("officer.certificate")
        return codes

    @staticmethod
    def said(line, certificate):
        """What was signed; None if it was not, {} where the certificate cannot say."""
        signed = bytes(line["officer_request"])
        head = b"DSSEv1 %d %s " % (len(TYPE), TYPE)
        payload = signed.removeprefix(head).partition(b" ")[2]
        if signed != rosters.pae(TYPE, payload):
            return None
        try:
            said = wire.read(payload, wire.OFFICER, strict=False)
        except wire.Malformed:
            return None
        if len(said["nonce"]) != 16:
            return None
        if certificate is None:
            return {}
        holds = signed_by(certificate, said["scheme"], bytes(line["officer_signature"]), signed)
        return said if holds and said["method"] == line["method"] else None

    def counts(self, line, certificate):
        name, at = name_of(certificate), line["taken_at"]
        between = [load(der) for der in line["officer_chain"]]
        if name is None or None in between or len(between) > CHAIN_MAX:
            return False
        parts = name.removeprefix("spiffe://").split("/")
        if not name.startswith("spiffe://") or len(parts) not in (4, 5):
            return False
        federation, role, member = parts[:3]
        by_name = member == self.member and parts[3:] == ["officer", line["caller"]]
        if federation != self.trust.federation or not (
                by_name or (line["outcome"] != "ok" and name == line["caller"])):
            return False
        return any(self.speaks(roster, member, role, certificate, between, at)
                   for roster in self.trust.versions)

    def speaks(self, roster, member, role, certificate, between, at):
        """Says whether a roster of that time has the CA that issued it."""
        who = self.trust.of(roster, member)
        if who is None or ROLES.get(who["role"]) != role:
            return False
        ca = load(who["ca"])
        return (ca is not None and roster["issued_at"] - SKEW_S <= at < roster["expires_at"]
                and leads_to(certificate, between, ca, at))


def untimely(line, said, issued_at):
    taken_at = line["taken_at"]
    if abs(taken_at - said["signed_at"]) > SKEW_S or issued_at < taken_at - SKEW_S:
        return True
    return issued_at > taken_at + SKEW_S and line["outcome"] == "ok" and not noted_first(said)


def noted_first(said):
    if said["method"] == "Desk.Query":
        try:
            return bool(wire.read(said["request"], wire.QUERY, strict=False)["add"])
        except wire.Malformed:
            return False
    return said["method"] in NOTED_FIRST
