"""The shape of policy files, and of the JSON Schema that editors check them with."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from moongate.core.decisions import Action, Effect
from moongate.policy.fields import TABLE
from moongate.policy.fields import Field as FactField
from moongate.policy.wanted import Wanted

FORMAT: Final = 1
DEFAULT_ACTIONS: Final[tuple[Action, ...]] = ("read", "commit", "deploy")

Json: TypeAlias = dict[str, Any]  # a part of a JSON Schema


class Model(BaseModel):
    """An object whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _condition(field: FactField) -> Any:  # a type with its schema
    def parse(told: object) -> Wanted:
        return field.parse(told)

    return Annotated[Wanted, BeforeValidator(parse), WithJsonSchema(_schema(field))] | None


def _schema(field: FactField) -> Json:
    if field.kind == "flag":
        return {"type": "boolean"}
    if field.kind in ("number", "size"):
        amount = {"type": "number"} if field.kind == "number" else {"type": ["number", "string"]}
        bounds = ("below", "at_most", "above", "at_least")
        return _object(dict.fromkeys(bounds, amount), minProperties=1)
    word: Json = {"type": "string", "enum": list(field.options)} if field.options else {"type": "string"}
    some: Json = {"anyOf": [word, {"type": "array", "items": word, "minItems": 1}]}
    forms = [*some["anyOf"], _object({"not": some}, required=["not"])]
    if field.kind == "level":
        forms.append(_object({"at_least": word, "at_most": word}, minProperties=1))
    return {"anyOf": forms}


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


When: type[Model] = create_model(
    "When",
    __base__=Model,
    __doc__="Conditions; all of them must hold.",
    **{field.name: (_condition(field), Field(default=None, description=field.help)) for field in TABLE},
)  # type: ignore[call-overload]

_Effect = Annotated[Effect, Field(description="Of all rules that match, the strictest effect counts.")]


class Rule(Model):
    """One rule: what it is about, and its effect."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Names it in answers and records.")
    effect: _Effect
    reason: str = Field(
        default="", max_length=500, description="Told to whoever is stopped or warned: why, and what to do."
    )
    actions: list[Action] = Field(
        default=list(DEFAULT_ACTIONS), min_length=1, description="What it is about; not `admin` unless named."
    )
    when: When = Field(default=When(), description="All of these must hold.")
    unless: When | None = Field(
        default=None, description="An exception: where all of these hold, the rule does not."
    )
    expr: str | None = Field(
        default=None, min_length=1, max_length=500, description="A CEL expression that must hold, too."
    )
    unknown: Literal["match", "skip"] | None = Field(
        default=None,
        description="What a fact that is not known does to a hold or deny: `match` (the default) stops, "
        "`skip` does not. An allow or warn never matches on it.",
    )


class Expected(Model):
    """A question in short, and the answer it must get."""

    name: str = Field(min_length=1, max_length=200)
    facts: dict[str, Any] = Field(description="As `moongate policy schema --facts` tells.")
    expect: Effect
    rule: str | None = Field(default=None, description="The rule that must decide; `default` for none.")


class PolicyFile(Model):
    """One file. Those of a folder are read together, by name."""

    moongate_policy: Literal[1] = Field(description="The version of this language.")
    preset: Literal["open", "balanced", "strict"] | None = Field(
        default=None, description="Start from the rules of this preset; in one file at most."
    )
    without: list[str] = Field(default=[], description="Ids of the preset's rules that are left out.")
    default: Effect | None = Field(
        default=None, description="The effect where no rule matches; in one file at most; else `allow`."
    )
    rules: list[Rule] = Field(default=[], max_length=1000)
    tests: list[Expected] = Field(default=[], max_length=5000)


def json_schema() -> Json:
    """The JSON Schema of policy files."""
    schema = PolicyFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Moongate policy", **schema}
