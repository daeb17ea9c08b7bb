"""A certificate for localhost, by trustme: certificate.py FOLDER."""

import sys
from pathlib import Path

import trustme

folder = Path(sys.argv[1])
authority = trustme.CA()
certificate = authority.issue_cert("localhost", "127.0.0.1")
authority.cert_pem.write_to_path(folder / "authority.pem")
certificate.private_key_pem.write_to_path(folder / "key.pem")
for number, part in enumerate(certificate.cert_chain_pems):
    part.write_to_path(folder / "certificate.pem", append=number > 0)
