"""A cloud that is simulated by a process of its own, and tables in it as the template makes them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

REGION = "eu-central-1"


@contextmanager
def simulated_cloud() -> Iterator[str]:
    """The address of a simulated cloud, with keys for it in the environment."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with (
        pytest.MonkeyPatch.context() as environment,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process,
    ):
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE", "AWS_REGION"):
            environment.delenv(name, raising=False)
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            yield next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        finally:
            process.kill()


def new_table(endpoint: str) -> str:
    """The address of a new, empty table, as the template makes it."""
    name = f"precalculations-{uuid4().hex[:8]}"
    boto3.client("dynamodb", endpoint_url=endpoint, region_name=REGION).create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return f"dynamodb://{name}?region={REGION}&endpoint_url={endpoint}"


def client_of(url: str) -> "DynamoDBClient":
    """A client of the service behind the address of a table."""
    asked = parse_qs(urlsplit(url).query)
    return boto3.client("dynamodb", region_name=asked["region"][0], endpoint_url=asked["endpoint_url"][0])
