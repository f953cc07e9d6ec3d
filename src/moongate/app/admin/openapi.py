"""The OpenAPI document of the admin API, from the same models that check requests and write answers."""

from __future__ import annotations

from collections.abc import Sequence

from moongate import __version__
from moongate.app.admin import models
from moongate.app.admin.models import Model
from moongate.app.admin.operations import BASE, Operation


def openapi(operations: Sequence[Operation]) -> dict[str, object]:
    """These operations as an OpenAPI 3.1 document."""
    schemas: dict[str, object] = {}
    paths: dict[str, dict[str, object]] = {}
    problem = _content(models.Problem, schemas)
    for operation in operations:
        told: dict[str, object] = {
            "summary": operation.summary,
            "operationId": operation.run.__name__.lstrip("_"),
            "responses": {
                str(operation.status): {"description": "done", "content": _content(operation.gives, schemas)},
                "default": {"description": "refused", "content": problem},
            },
        }
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.query]
        if "{" in operation.path:
            name = operation.path.partition("{")[2].rstrip("}")
            parameters.append(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}  # type: ignore[dict-item]
            )
        if parameters:
            told["parameters"] = parameters
        if operation.takes is not None:
            told["requestBody"] = {"required": True, "content": _content(operation.takes, schemas)}
        paths.setdefault(BASE + operation.path, {})[operation.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {"title": "Moongate admin API", "version": __version__},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _content(model: type[Model], schemas: dict[str, object]) -> dict[str, object]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
