"""Verifies the DKIM signatures of kept mails with dkimpy, and that it refuses what was changed on the way.

The answers of the DNS come from the table below: the public halves of channels/src/testing/dkim_*.pem.
"""

import json
import sys

import dkim

RECORDS = {
    "rsa": "v=DKIM1; k=rsa; p="
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPd"
    "dxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7"
    "OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k"
    "G4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB",
    "ed25519": "v=DKIM1; k=ed25519; p=8x5uFKOIO7pmFZsoV7/1Hm51WrRkkrnDdU71xFgk6eY=",
}


def answer(domain):
    """A DNS that knows the two selectors of `domain`."""

    def txt(name, timeout=5):
        selector, _, rest = name.decode().rstrip(".").partition("._domainkey.")
        return RECORDS[selector].encode() if rest == domain else None

    return txt


def algorithm(mail):
    """The `a=` of the first signature."""
    field = mail.split("DKIM-Signature:", 1)[1]
    return field.split("a=", 1)[1].split(";", 1)[0].strip()


domain, path = sys.argv[1], sys.argv[2]
dns = answer(domain)
with open(path, encoding="utf-8", newline="") as file:
    mails = json.load(file)
counts = {}
for mail in mails:
    if not dkim.verify(mail.encode(), dnsfunc=dns):
        sys.exit(f"this signature does not verify:\n{mail}")
    changed = {
        "another subject": mail.replace("\nSubject: ", "\nSubject: Re: ", 1),
        "another body": mail.rstrip("\r\n") + " and more\n",
        "a second From": "From: Eve <eve@evil.example>\n" + mail,
        "a second Subject": mail.replace("\nSubject: ", "\nSubject: Win\nSubject: ", 1),
        "no way off the list": mail.replace("\nList-Unsubscribe: ", "\nX-Was: ", 1),
    }
    for name, other in changed.items():
        if other == mail:
            sys.exit(f"{name} was to be tried on:\n{mail}")
        try:
            verified = dkim.verify(other.encode(), dnsfunc=dns)
        except dkim.DKIMException:
            verified = False
        if verified:
            sys.exit(f"{name} was verified")
    kind = algorithm(mail)
    counts[kind] = counts.get(kind, 0) + 1
print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())), "verified")
