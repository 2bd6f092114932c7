"""The template of the cloud parts: sound by itself, and made in a simulated cloud as the contract says."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner.app.doctor import State
from limner.app.doctor_deploy import examine_template
from limner.cli.main import app
from limner.errors import UsageError
from tests.conftest import REPOSITORY
from tests.systems.ersilia.stacked import Cloud, made_cloud

TEMPLATE = REPOSITORY / "deploy" / "aws" / "ersilia.yaml"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The template, created with small names."""
    with made_cloud(TEMPLATE) as found:
        yield found


@pytest.mark.slow
def test_e22_aws_template_is_sound() -> None:
    """Nothing is wrong with the template, and its resources, parameters and outputs are told."""
    # when
    done = CliRunner().invoke(app, ["doctor", "--deploy", str(TEMPLATE)])

    # then
    assert done.exit_code == 0, done.output
    assert "Nothing is wrong." in done.output
    assert {one.state for one in examine_template(TEMPLATE)} == {State.SOUND}


BROKEN = [
    ("      BucketName: !Ref BucketName\n", "      BucketName: !Ref BucketNam\n", "BucketNam"),
    ("    DependsOn: FunctionLog\n", "    DependsOn: Log\n", "depends on Log"),
    ("      BillingMode: PAY_PER_REQUEST\n", "      BillingMod: PAY_PER_REQUEST\n", "BillingMod"),
    ("          TABLE: !Ref Table\n", "          TABLE: !Reef Table\n", "!Reef"),
    ("    Type: AWS::ApiGateway::RestApi\n", "    Kind: AWS::ApiGateway::RestApi\n", "Kind"),
    ("    Type: AWS::Lambda::Function\n", "    Type: Lambda.Function\n", "Lambda.Function"),
    ("      Handler: limner.", "     Handler: limner.", "YAML"),
    ("      Timeout: 30\n", "      Timeout: 30\n      Timeout: 20\n", "twice"),
]


@pytest.mark.parametrize(("was", "becomes", "named"), BROKEN, ids=[named for _, _, named in BROKEN])
def test_e22_aws_template_that_is_broken(tmp_path: Path, was: str, becomes: str, named: str) -> None:
    """Whatever is broken in a template is told with its line, and exit status 2."""
    # given
    text = TEMPLATE.read_text(encoding="utf-8")
    assert text.count(was) == 1
    file = tmp_path / "broken.yaml"
    file.write_text(text.replace(was, becomes), encoding="utf-8")
    line = text[: text.index(was)].count("\n") + 1

    # when
    with pytest.raises(UsageError) as caught:
        examine_template(file)

    # then
    places = [one.removeprefix(f"{file}:").partition(":")[0] for one in str(caught.value).splitlines()]
    assert any(abs(int(place) - line) <= 1 for place in places), str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("just words", "section Resources"), ("Resources: {}\nResourses: {}\n", "Resourses"), ("\0", "no YAML")],
)
def test_e22_aws_template_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    """A file that is no template at all is refused by the command with exit status 2."""
    # given
    file = tmp_path / "none.yaml"
    file.write_text(text, encoding="utf-8")

    # when
    with pytest.raises(UsageError, match=said):
        examine_template(file)
    done = CliRunner().invoke(app, ["doctor", "--deploy", str(file)])

    # then
    assert done.exit_code == 2
    assert f"{file}:" in done.output.replace("\n", "")


@pytest.mark.slow
def test_e22_aws_template_makes_the_table(cloud: Cloud) -> None:
    """The table has the keys of the contract, and is paid by request."""
    table = cloud.client("dynamodb").describe_table(TableName="precalculations-table")["Table"]
    keys = [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]]
    assert keys == [("PK", "HASH"), ("SK", "RANGE")]
    assert {key["AttributeName"]: key["AttributeType"] for key in table["AttributeDefinitions"]} == {
        "PK": "S",
        "SK": "S",
    }
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.slow
def test_e22_aws_template_makes_the_routes(cloud: Cloud) -> None:
    """``/predictions`` takes GET and POST, both only with an API key, and hands both to the function."""
    # given
    gateway = cloud.client("apigateway")
    (api,) = gateway.get_rest_apis()["items"]

    # when
    resources = {one["path"]: one for one in gateway.get_resources(restApiId=api["id"])["items"]}
    methods = resources["/predictions"]["resourceMethods"]

    # then
    assert set(resources) == {"/", "/predictions"}
    assert {name: method["apiKeyRequired"] for name, method in methods.items()} == {"GET": True, "POST": True}
    calls = {method["methodIntegration"]["uri"].rpartition(":function:")[2] for method in methods.values()}
    assert calls == {"precalculations-look-up/invocations"}
    assert {method["methodIntegration"]["type"] for method in methods.values()} == {"AWS_PROXY"}
    assert [stage["stageName"] for stage in gateway.get_stages(restApiId=api["id"])["item"]] == ["dev"]


@pytest.mark.slow
def test_e22_aws_template_makes_the_function(cloud: Cloud) -> None:
    """The function is as large as it was said, knows its table, and may only read there."""
    # when
    function = cloud.client("lambda").get_function(FunctionName="precalculations-look-up")["Configuration"]
    role = function["Role"].rpartition("/")[2]
    told = cloud.client("iam").get_role_policy(RoleName=role, PolicyName="look-up")["PolicyDocument"]
    # The simulator gives it as it would be written in Python.
    policy = ast.literal_eval(told) if isinstance(told, str) else told

    # then
    assert (function["MemorySize"], function["Timeout"]) == (512, 30)
    assert function["Environment"]["Variables"] == {"TABLE": "precalculations-table"}
    reading, logging = policy["Statement"]
    assert all(
        action.partition(":")[2].startswith(("Get", "BatchGet", "Query", "Describe")) for action in reading["Action"]
    )
    assert reading["Resource"].endswith(":table/precalculations-table")
    assert all(action.startswith("logs:") for action in logging["Action"])


def test_e22_aws_template_names_a_function_that_there_is() -> None:
    """The handler that the template names can be imported, and is a function of two arguments."""
    from limner.app.declared import load_target

    (line,) = [one for one in TEMPLATE.read_text(encoding="utf-8").splitlines() if one.strip().startswith("Handler:")]
    module, _, name = line.partition(":")[2].strip().rpartition(".")
    handler = load_target(f"{module}:{name}")
    assert callable(handler)
    assert len(inspect.signature(handler).parameters) == 2


def test_e22_aws_template_keeps_what_is_stored() -> None:
    """Bucket and table outlive the stack, and nobody from outside reads the bucket."""
    import cfnlint.decode.cfn_yaml

    resources = cfnlint.decode.cfn_yaml.load(str(TEMPLATE))["Resources"]
    for name in ("Bucket", "Table"):
        assert (resources[name]["DeletionPolicy"], resources[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert set(resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert set(resources["UsagePlan"]["Properties"]["Throttle"]) == {"RateLimit", "BurstLimit"}
