"""One line for every way in which a value can be refused."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cascade_sim.domain.errors import expectation

_EXPECTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "text without slashes or control characters",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("a number > {:g}", "gt"),
    "greater_than_equal": ("a number >= {:g}", "ge"),
    "less_than": ("a number < {:g}", "lt"),
    "less_than_equal": ("a number <= {:g}", "le"),
    "string_too_long": ("text of at most {:d} characters", "max_length"),
    "too_short": ("a list of at least {:d}", "min_length"),
    "too_long": ("a list of at most {:d}", "max_length"),
}


def error_line(root: type[BaseModel], error: ValidationError) -> str:
    """Compose one line for a refused scenario.

    Parameters
    ----------
    root : type
        The model that was validated.
    error : ValidationError
        What pydantic found.

    Returns
    -------
    str
        The first problem, and how many more there are.
    """
    problems = error.errors(include_url=False)
    line = _problem_line(root, problems[0])
    return line if len(problems) == 1 else f"{line} (and {len(problems) - 1} more)"


def _problem_line(root: type[BaseModel], problem: ErrorDetails) -> str:
    path, owner = _locate(root, problem["loc"])
    kind, context, received = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if owner is not None else []
        return expectation(path, "a known key", str(problem["loc"][-1]), known)
    if kind == "union_tag_invalid":
        return expectation(f"{path}.name", "a known name", context["tag"], _words(context["expected_tags"]))
    if kind == "literal_error":
        return expectation(path, "one of the known words", received, _words(context["expected"]))
    if kind == "missing":
        return f"{path}: expected a value, received nothing"
    if kind == "component_parameter":
        return expectation(
            f"{path}.{context['key']}", problem["msg"].partition(" for parameter")[0], context["received"]
        )
    if kind in _BOUNDS:
        template, bound = _BOUNDS[kind]
        return expectation(path, template.format(context[bound]), received)
    expected = _EXPECTED.get(kind) or problem["msg"].removeprefix("Input should be ")
    return expectation(path, expected, received)


def _words(listed: str) -> list[str]:
    return [word.strip(" '") for word in listed.replace(" or ", ", ").split(",")]


def _locate(root: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, type[BaseModel] | None]:
    """Return the dotted path of a problem and the section that it is in."""
    path = ""
    owner: type[BaseModel] | None = None
    current: Any = root
    for part in location:
        variants = _variants(current)
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in variants:
            current = variants[part]
        else:
            owner = current if isinstance(current, type) and issubclass(current, BaseModel) else None
            path = f"{path}.{part}" if path else part
            field = owner.model_fields.get(part) if owner is not None else None
            current = field.annotation if field is not None else None
    return path or "scenario", owner


def _variants(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the models of a union told apart by ``name``, by that name."""
    if get_origin(annotation) not in (Union, UnionType):
        return {}
    models = [
        option
        for option in get_args(annotation)
        if isinstance(option, type) and issubclass(option, BaseModel)
    ]
    return {str(model.model_fields["name"].default): model for model in models}
