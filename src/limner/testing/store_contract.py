"""The contract of the store, a suite that is run over every database that serves it."""

from limner.testing.store_doors import DoorsContract
from limner.testing.store_lookups import LookUpsContract
from limner.testing.store_many import ManyContract
from limner.testing.store_nouns import NounsContract
from limner.testing.store_records import RecordsContract


class StoreContract(NounsContract, RecordsContract, LookUpsContract, DoorsContract, ManyContract):
    """All of the contract; a subclass gives the fixture ``store``, empty at the start of each test."""
