"""The front door: settings, wiring and HTTP. Only `wiring` names concrete classes of the rooms below."""
