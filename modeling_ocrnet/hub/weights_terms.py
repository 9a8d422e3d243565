"""The terms of weights that backbones start from, as far as they are known here."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsTerms:
    """A licence of weights.

    Args:
        name: of the licence, in texts.
        tag: its name in a card's metadata.
        link: its text.
        gated: whether it must be accepted before the weights can be downloaded.
    """

    name: str
    tag: str
    link: str
    gated: bool = False

    def sentence(self, source: str) -> str:
        """What a card says of weights from `source`."""
        gate = f" Its repository is gated: the licence is accepted on https://huggingface.co/{source}."
        return f"`{source}` is under the [{self.name}]({self.link}).{gate if self.gated else ''}"


_DINOV3 = ("DINOv3 License", "dinov3-license", "https://ai.meta.com/resources/models-and-libraries/dinov3-license/")
# by the beginnings of repositories' and timm's names
_KNOWN = {
    r"facebook/dinov3": WeightsTerms(*_DINOV3, gated=True),
    r"(timm/)?\w+[._]dinov3": WeightsTerms(*_DINOV3),
}


def terms_of(source: str | None) -> WeightsTerms | None:
    """The terms of weights by their source, a repository or a network of timm's; `None` if they aren't known here."""
    return next((terms for name, terms in _KNOWN.items() if source and re.match(name, source)), None)
