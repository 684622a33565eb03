"""Prompts and domains as files: what providers ask, in which words, and with which types.

A *prompt* says what a provider asks (``prompts/<name>.toml``: a version, a system message, and one
template a step). A *domain* says what a data set is about (``prompts/domains/<name>.toml``: cue words and
the definition of each type). A file ``prompts/<name>.<domain>.toml`` replaces the prompt for one domain.
Templates have fields in braces: ``{text}``, ``{caption}``, ``{steps}``, ``{cue_words}``, ``{types}``,
``{type_names}``, ``{domain}``. Everything a prompt holds is part of the key of the answers made with it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from mner.errors import DataError, UsageError, did_you_mean, shown

FOLDER = Path(__file__).parent / "prompts"
FIELDS = frozenset({"text", "caption", "steps", "cue_words", "types", "type_names", "domain"})


@dataclass(frozen=True, slots=True)
class Domain:
    """What posts are about.

    Args:
        name: The domain's name, such as ``politics``.
        version: Grows by one with every change of the file.
        description: The domain in a few words, as a prompt names it.
        cue_words: Words that tell a model what to look for.
        types: The definition of each entity type, by label.
    """

    name: str
    version: int
    description: str
    cue_words: tuple[str, ...]
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a provider asks about a post of a domain.

    Args:
        name: The prompt's name, such as ``caption``.
        version: Grows by one with every change of the file.
        system: The system message; empty for models that have none.
        steps: One template a step; a prompt that is asked once has one.
        domain: The domain whose words fill the templates.
    """

    name: str
    version: int
    system: str
    steps: tuple[str, ...]
    domain: Domain

    def render(self, step: int = 0, **fields: str) -> str:
        """The words of one step.

        Args:
            step: Which step, from 0.
            fields: ``text``, ``caption`` and ``steps`` (the answers before, joined); absent ones are empty.
        """
        return self._fill(self.steps[step], fields)

    def render_system(self) -> str:
        """The system message with the domain's words in it."""
        return self._fill(self.system, {})

    def as_settings(self) -> dict[str, Any]:
        """Everything of the prompt that shapes an answer: its words with the domain's filled in."""
        marks = {"text": "{text}", "caption": "{caption}", "steps": "{steps}"}
        settings: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "system": self.render_system(),
            "steps": [self.render(step, **marks) for step in range(len(self.steps))],
        }
        # A prompt that does not speak of the domain gives the same answers for all of them.
        if (self.system, *self.steps) != (settings["system"], *settings["steps"]):
            settings["domain"] = self.domain.name
        return settings

    def _fill(self, template: str, fields: Mapping[str, str]) -> str:
        domain = self.domain
        values = {
            "text": "",
            "caption": "",
            "steps": "",
            "domain": domain.description,
            "cue_words": ", ".join(domain.cue_words),
            "types": "\n".join(f"- {label}: {definition}" for label, definition in domain.types.items()),
            "type_names": ", ".join(domain.types),
        }
        # format_map fills fields once: braces inside a post's text are only text.
        return template.format_map({**values, **fields})


def prompt_names() -> list[str]:
    """The prompts of this package."""
    return sorted({path.name.split(".")[0] for path in FOLDER.glob("*.toml")})


def domain_names() -> list[str]:
    """The domains of this package."""
    return sorted(path.stem for path in (FOLDER / "domains").glob("*.toml"))


def load_domain(domain: str | Path | Domain) -> Domain:
    """A domain by name, or from a TOML file of one's own.

    Raises:
        UsageError: There is no such domain or file.
        DataError: The file is not a domain.
    """
    if isinstance(domain, Domain):
        return domain
    path = _own_file(domain) or FOLDER / "domains" / f"{domain}.toml"
    if not path.is_file():
        raise UsageError(
            f"There is no domain {str(domain)!r}.", hint=did_you_mean(str(domain), domain_names())
        )
    table = _table(path, {"version": int, "description": str, "cue_words": list, "types": dict})
    return Domain(
        name=path.stem,
        version=table["version"],
        description=table["description"],
        cue_words=tuple(str(word) for word in table["cue_words"]),
        types={str(label): str(definition) for label, definition in table["types"].items()},
    )


def load_prompt(name: str | Path, domain: str | Path | Domain = "twitter") -> Prompt:
    """A prompt by name, or from a TOML file of one's own, for a domain.

    Raises:
        UsageError: There is no such prompt, domain or file.
        DataError: The file is not a prompt.
    """
    about = load_domain(domain)
    path = _own_file(name)
    if path is None:
        special, usual = FOLDER / f"{name}.{about.name}.toml", FOLDER / f"{name}.toml"
        path = special if special.is_file() else usual
    if not path.is_file():
        raise UsageError(f"There is no prompt {str(name)!r}.", hint=did_you_mean(str(name), prompt_names()))
    table = _table(path, {"version": int, "system": str, "steps": list})
    for template in (table["system"], *table["steps"]):
        _check_template(path, template)
    return Prompt(
        name=path.name.split(".")[0],
        version=table["version"],
        system=table["system"],
        steps=tuple(table["steps"]),
        domain=about,
    )


def _own_file(name: str | Path) -> Path | None:
    if isinstance(name, Path) or str(name).endswith(".toml"):
        return Path(name)
    return None


def _table(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"The file {path} cannot be read as TOML.", got=str(error)) from error
    for key in table:
        if key not in fields:
            raise DataError(f"The file {path} has an unknown key {key!r}.", hint=did_you_mean(key, fields))
    for field, kind in fields.items():
        if not isinstance(table.get(field), kind) or isinstance(table[field], bool):
            raise DataError(
                f"The file {path} lacks {field!r} or has it wrongly.",
                expected=f"{field} = a TOML {kind.__name__}",
                got=shown(table.get(field)),
            )
    return table


def _check_template(path: Path, template: object) -> None:
    if not isinstance(template, str):
        raise DataError(f"A step of {path} is not text.", expected="a string", got=shown(template))
    try:
        used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise DataError(f"A template of {path} has unbalanced braces.", got=str(error)) from error
    unknown = sorted(used - FIELDS)
    if unknown:
        raise DataError(
            f"A template of {path} has an unknown field {unknown[0]!r}.",
            expected=f"some of {', '.join(sorted(FIELDS))}; write {{{{ and }}}} for braces",
        )
