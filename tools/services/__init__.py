"""Services that tests need, on ports and in folders of their own: ``python -m tools.services COMMAND``."""

from tools.services.base import Unavailable, free_port
from tools.services.kafka import KafkaBroker
from tools.services.object_store import ObjectStore
from tools.services.postgresql import PostgreSQLServer
from tools.services.rabbitmq import Broker

__all__ = ["Broker", "KafkaBroker", "ObjectStore", "PostgreSQLServer", "Unavailable", "free_port"]
