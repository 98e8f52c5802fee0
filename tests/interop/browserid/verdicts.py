"""What PyBrowserID says of bundles: a process of its own, for it warns of itself. In and out as verdicts.js."""

import json
import sys

from browserid import LocalVerifier
from browserid.errors import ConnectionError as NotThere
from browserid.supportdoc import SupportDocumentManager

asked = json.load(sys.stdin)


class Documents(SupportDocumentManager):  # type: ignore[misc]  # of a library without types
    def fetch_support_document(self, hostname: str) -> object:
        if hostname not in asked["documents"]:
            raise NotThere(hostname)
        return asked["documents"][hostname]


verifier = LocalVerifier([asked["audience"]], trusted_secondaries=[], supportdocs=Documents())


def verdict(bundle: str) -> str | None:
    try:
        verifier.verify(bundle, now=asked["now"])
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not accept
        return f"{type(error).__name__}: {error}"
    return None


json.dump([verdict(bundle) for bundle in asked["bundles"]], sys.stdout)
