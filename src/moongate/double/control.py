"""The control door, for a double in another process: meters, faults, refs and outages over HTTP.

GET    /_double/meters            totals
DELETE /_double/meters            forget them
GET    /_double/requests          the request log
GET    /_double/faults            faults in force
POST   /_double/faults            {"kind": "Cut", "after_bytes": 10, "match": {"origin": "cdn"}} → {"id": 1}
DELETE /_double/faults[/ID]       lift one or all
GET    /_double/settings          settings;  PATCH changes some
POST   /_double/refs              {"repo", "type"?, "ref"?, "at"} moves a ref
POST   /_double/down              {"origin"?: "hub"|"cdn"|"cas"};  POST /_double/up: on the same port again
GET    /_double/repos             what there is
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from moongate.double.ask import Ask
from moongate.double.faults import fault_from_json
from moongate.double.reply import Refusal, Reply, json_reply

if TYPE_CHECKING:
    from moongate.double.double import HubDouble


class Control:
    """Answers the control door."""

    def __init__(self, double: HubDouble) -> None:
        self._double = double

    async def answer(self, ask: Ask) -> Reply:
        """The reply to a control request.

        Raises:
            Refusal: 404 for a route that is none, 400 for a body that does not fit.
        """
        double = self._double
        match (ask.method, *ask.segments):
            case "GET", "_double", "meters":
                return json_reply(double.meters.as_json())
            case "DELETE", "_double", "meters":
                double.meters.reset()
            case "GET", "_double", "requests":
                return json_reply(double.meters.log_json())
            case "GET", "_double", "faults":
                return json_reply(double.faults.as_json())
            case "POST", "_double", "faults":
                return json_reply({"id": await self._add_fault(ask)})
            case "DELETE", "_double", "faults":
                double.faults.clear()
            case "DELETE", "_double", "faults", number if number.isdigit():
                double.faults.remove(int(number))
            case "GET", "_double", "settings":
                return json_reply(asdict(double.settings))
            case "PATCH", "_double", "settings":
                return self._set(await ask.json())
            case "POST", "_double", "refs":
                return json_reply({"commit": self._move(await ask.json())})
            case "POST", "_double", ("down" | "up") as way:
                await self._outage(way, (await ask.json()).get("origin"))
            case "GET", "_double", "repos":
                return json_reply([{"key": repo.key, "refs": repo.refs} for repo in double.world.shelf])
            case _:
                raise Refusal(404, "no such control route")
        return json_reply({})

    async def _add_fault(self, ask: Ask) -> int:
        try:
            return self._double.faults.add(fault_from_json(await ask.json()))
        except ValueError as error:
            raise Refusal(400, str(error)) from None

    def _set(self, values: dict[str, object]) -> Reply:
        settings = self._double.settings
        known = {item.name for item in fields(settings)}
        for name, value in values.items():
            if name not in known or type(value) is not type(getattr(settings, name)):
                raise Refusal(400, f"no such setting, or not of its type: {name}")
            setattr(settings, name, value)
        return json_reply(asdict(settings))

    def _move(self, body: dict[str, object]) -> str:
        repo = self._double.world.shelf.find(str(body.get("type") or "model"), str(body.get("repo")))
        if repo is None:
            raise Refusal(404, "no such repository")
        try:
            return repo.set_ref(str(body.get("ref") or "main"), str(body.get("at")))
        except KeyError as error:
            raise Refusal(404, str(error)) from None

    async def _outage(self, way: str, origin: object) -> None:
        for door in self._double.doors(str(origin) if origin else None):
            await (door.close() if way == "down" else door.open())
