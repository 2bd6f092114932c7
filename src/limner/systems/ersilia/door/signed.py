"""Links to one thing that need no token, for as long as a request holds."""

import math
from urllib.parse import urlencode

from fastapi import Request

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.errors import Unauthorized


class Signed:
    """Makes and checks them, with the server's key."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def url(self, request: Request, host: Host, path: str, *, expires: float) -> str:
        """The link to *path* in a project."""
        ends = math.floor(expires)
        told = {"project": host.name, "expires": ends, "signature": self._sign(path, host.name, ends)}
        base = host.app.settings.public_url or str(request.base_url)
        return f"{base.rstrip('/')}{path}?{urlencode(told)}"

    def host(self, request: Request) -> Host:
        """
        The project that the link is for.

        Raises:
            Unauthorized: it is none of ours, or has expired.
        """
        query = request.query_params
        project, expires = query.get("project", ""), query.get("expires", "")
        if not expires.isdecimal() or len(expires) > 15:
            raise Unauthorized("The link is not one that this server signed; ask for the request again.")
        path = f"{request.url.path}?{urlencode({'project': project})}"
        self._projects.key.check(path, expires=int(expires), signature=query.get("signature", ""))
        return self._projects.host(project)

    def _sign(self, path: str, project: str, expires: int) -> str:
        return self._projects.key.sign(f"{path}?{urlencode({'project': project})}", expires=expires)
