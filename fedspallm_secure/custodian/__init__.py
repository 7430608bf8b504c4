"""The custodian of encrypted votes: its keys, what it signs, what it counts, and how a run elsewhere reaches it."""

from fedspallm_secure.custodian.elsewhere import Elsewhere
from fedspallm_secure.custodian.exchange import Exchange
from fedspallm_secure.custodian.keys import OFFER, load_contexts, load_offer, make_keys, open_office
from fedspallm_secure.custodian.office import Offer, Office

__all__ = [
    "OFFER",
    "Elsewhere",
    "Exchange",
    "Offer",
    "Office",
    "load_contexts",
    "load_offer",
    "make_keys",
    "open_office",
]
