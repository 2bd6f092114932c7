"""A3: without a right token nothing is told and nothing is done."""

from collections.abc import Callable

from limner.app.tokens import Tokens
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door


def test_no_wrong_and_other_token(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """401 without a token and with a wrong one, 403 with that of another project; the raw token is enough."""
    # given
    door = own_door(own_workers=False)
    ours, theirs = (_token(door, project) for project in ("ours", "theirs"))
    body = door.body("ours", door.images([small_night[0].name]))
    send = door.client.post

    # when
    answers = {
        "none": send("/createRequest", json=body),
        "wrong": send("/createRequest", json=body, headers={"Authorization": "lim_wrong"}),
        "other": send("/createRequest", json=body, headers={"Authorization": theirs}),
        "raw": send("/createRequest", json=body, headers={"Authorization": ours}),
        "bearer": send("/createRequest", json=body, headers={"Authorization": f"Bearer {ours}"}),
    }

    # then
    found = {name: answer.status_code for name, answer in answers.items()}
    assert found == {"none": 401, "wrong": 401, "other": 403, "raw": 202, "bearer": 202}
    request = answers["raw"].json()["requestId"]
    assert _status(door, request, None) == 401
    assert _status(door, request, "lim_wrong") == 401
    assert _status(door, request, theirs) == 403
    assert _status(door, request, ours) == 200
    assert _status(door, "nothing", ours) == 404


def test_scopes_hold(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """A token to read neither creates nor cancels."""
    door = own_door(own_workers=False)
    reading = _token(door, "default", "read")

    answer = door.client.post(
        "/createRequest",
        json=door.body("default", door.images([small_night[0].name])),
        headers={"Authorization": reading},
    )

    assert answer.status_code == 403


def test_tokens_stand_in_no_file(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """Neither the token of the request nor that of the callback can be found in what the server keeps."""
    door = own_door(own_workers=False)
    token = _token(door, "ours")
    body = door.body("ours", door.images([small_night[0].name]))
    body["callback"]["callbackToken"] = "a-callback-token-that-nobody-sees"
    door.client.post("/createRequest", json=body, headers={"Authorization": token})

    folder = door.server.projects.project.folder
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [one for one in kept if token.encode() in one or b"that-nobody-sees" in one]


def _token(door: Door, project: str, *scopes: str) -> str:
    projects = door.server.projects
    projects.make(project)
    tokens = Tokens(projects.root.store, projects.root.clock)
    return tokens.create("", project=project, scopes=scopes or ("submit", "read")).token


def _status(door: Door, request: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": token}
    return door.client.get(f"/requests/{request}", headers=headers).status_code
