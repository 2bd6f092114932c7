"""A simulated cloud in this process, in which the template was made."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

REGION = "eu-central-1"
NAMES = {"BucketName": "files-of-tests", "CodeBucket": "code-of-tests", "CodeKey": "function-1.zip"}
TABLE = "precalculations-table"


class Cloud:
    """A simulated cloud in which the template was made."""

    def client(self, service: str) -> Any:  # noqa: ANN401  clients have no common type
        """A client of one of its services."""
        return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # the name is not known here


@contextmanager
def made_cloud(template: Path) -> Iterator[Cloud]:
    """The cloud with one stack, until the block ends."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
            environment.delenv(name, raising=False)
        found = Cloud()
        bucket = {"LocationConstraint": REGION}
        found.client("s3").create_bucket(Bucket=NAMES["CodeBucket"], CreateBucketConfiguration=bucket)
        found.client("s3").put_object(Bucket=NAMES["CodeBucket"], Key=NAMES["CodeKey"], Body=_function())
        with warnings.catch_warnings():
            # The simulator knows neither usage plans nor keys in templates, and says so; cfn-lint has looked at them.
            warnings.simplefilter("ignore", UserWarning)
            found.client("cloudformation").create_stack(
                StackName="ersilia",
                TemplateBody=template.read_text(encoding="utf-8"),
                Capabilities=["CAPABILITY_IAM"],
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in NAMES.items()],
            )
        yield found


def _function() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("limner/__init__.py", "")
    return out.getvalue()
