"""Posts with gold and predictions as HTML: the errors of a run, and where two runs differ, with pictures.

Pages are self-contained: no script, nothing loaded from elsewhere, pictures as small copies inside.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from mner.evaluation.errors import Difference, EntityError, ErrorClass
from mner.evaluation.scores import identity
from mner.html import document, entity_markup, type_classes
from mner.images import open_picture
from mner.posts import Entity, Post

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG = "✓", "✗"

STYLE = """
h1 { font-size: 1.6rem; line-height: 1.3; }
article { display: flex; gap: 1rem; align-items: flex-start; margin: 1rem 0; padding: .8rem;
  border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .6rem; }
article > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
article img { width: 11rem; max-height: 14rem; object-fit: contain; border-radius: .3rem; }
article dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .8rem; margin: 0; }
article dt { font-size: .8rem; opacity: .75; max-width: 9rem; overflow-wrap: anywhere; }
article dd { margin: 0; }
article header { font-size: .8rem; opacity: .75; margin-bottom: .3rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .7rem; text-align: right;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th:first-child, td:first-child { text-align: left; }
summary { cursor: pointer; font-weight: 600; font-size: 1.1rem; margin-top: 1.5rem; }
figure { margin: 1rem 0; }
@media (max-width: 40rem) { article { flex-direction: column; } }
"""
"""What the parts below need of a page's style, besides the colours of `mner.html.type_classes`."""


def thumbnail(post: Post, side: int = 320) -> str | None:
    """A post's picture as a small JPEG in a data URI, or None where there is none.

    Args:
        post: The post.
        side: The longest side in pixels.
    """
    if post.image is None:
        return None
    picture = open_picture(post.image, max_side=side).image
    if picture is None:
        return None
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def rows_as_html(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as an HTML table; fractions as per cent, None as a dash."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.2f}" if isinstance(value, float) else escape(str(value))


def post_as_html(
    post: Post,
    said: Mapping[str, Sequence[Entity]],
    gold: Sequence[Entity],
    classes: Mapping[str, str],
    about: str = "",
) -> str:
    """A post with its picture, its gold and what was said of it, each entity marked as right or wrong.

    Args:
        post: The post.
        said: Predictions by the name of who made them.
        gold: The gold entities.
        classes: The CSS class of each type, as `mner.html.type_classes` gives them.
        about: What else there is to say.
    """
    wanted = set(map(identity, gold))
    lines = {"gold": _marked(post, gold, classes, None)}
    lines |= {name: _marked(post, entities, classes, wanted) for name, entities in said.items()}
    picture = thumbnail(post)
    problem = post.image_problem and f"no picture: {post.image_problem}"
    header = " · ".join(part for part in (post.id, about, problem) if part)
    shown = f'<img src="{picture}" alt="{escape(post.alt or "the picture of the post")}">' if picture else ""
    listed = "".join(f'<dt>{escape(name)}</dt><dd dir="auto">{line}</dd>' for name, line in lines.items())
    return f"<article>{shown}<div><header>{escape(header)}</header><dl>{listed}</dl></div></article>"


def _marked(
    post: Post,
    entities: Sequence[Entity],
    classes: Mapping[str, str],
    wanted: set[tuple[int, int, str]] | None,
) -> str:
    shown: list[Entity] = []
    hidden: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (one.start, -one.end)):
        (hidden if shown and entity.start < shown[-1].end else shown).append(entity)

    def verdict(entity: Entity) -> str:
        return "" if wanted is None else f" {RIGHT if identity(entity) in wanted else WRONG}"

    marked = entity_markup(post.text, shown, classes, verdict)
    # What overlaps cannot be marked in one line of text.
    also = ", ".join(f"{one.text} [{one.label}]{verdict(one)}" for one in hidden)
    return marked + (f" <small>also {escape(also)}</small>" if also else "")


def differences_as_html(
    posts: Sequence[Post],
    found: Sequence[Difference],
    names: tuple[str, str],
    classes: Mapping[str, str],
    most: int | None = None,
) -> str:
    """The posts where two runs differ, by who is right.

    Args:
        posts: All posts; the differences say which are meant.
        found: The differences.
        names: The names of the two.
        classes: The CSS class of each type.
        most: The most posts that are shown of each part; all where None.
    """
    parts = (
        ("first", f"{names[0]} has fewer errors"),
        ("second", f"{names[1]} has fewer errors"),
        ("neither", "both have as many errors"),
    )
    sections = []
    for better, heading in parts:
        chosen = [one for one in found if one.better == better]
        cards = "\n".join(
            post_as_html(
                posts[one.post],
                {names[0]: one.first, names[1]: one.second},
                one.gold,
                classes,
                f"errors: {one.first_errors} and {one.second_errors}",
            )
            for one in chosen[:most]
        )
        shown = "" if most is None or len(chosen) <= most else f", the first {most} shown"
        is_open = " open" if better != "neither" else ""
        sections.append(
            f"<details{is_open}><summary>{escape(heading)}: {len(chosen)} posts{shown}</summary>\n"
            f"{cards}</details>"
        )
    return "\n".join(sections)


def errors_as_html(
    posts: Sequence[Post],
    gold: Sequence[Sequence[Entity]],
    predicted: Sequence[Sequence[Entity]],
    errors: Sequence[EntityError],
    classes: Mapping[str, str],
    most: int | None = None,
) -> str:
    """The posts with errors, by class; a post stands under each class of which it has an error.

    Args:
        posts: All posts.
        gold: For each its gold entities.
        predicted: For each its predicted entities.
        errors: What is wrong.
        classes: The CSS class of each type.
        most: The most posts that are shown of each class; all where None.
    """
    sections = []
    for kind in ErrorClass:
        of_post: dict[int, list[EntityError]] = {}
        for error in errors:
            if error.kind is kind:
                of_post.setdefault(error.post, []).append(error)
        cards = "\n".join(
            post_as_html(
                posts[number],
                {"predicted": predicted[number]},
                gold[number],
                classes,
                "; ".join(map(error_in_words, wrong)),
            )
            for number, wrong in list(of_post.items())[:most]
        )
        shown = "" if most is None or len(of_post) <= most else f", the first {most} shown"
        count = sum(map(len, of_post.values()))
        sections.append(
            f"<details><summary>{kind.value}: {count} entities in {len(of_post)} posts{shown}</summary>\n"
            f"{cards}</details>"
        )
    return "\n".join(sections)


def error_in_words(error: EntityError) -> str:
    """An error in one line."""
    gold, predicted = (
        f"{one.text} [{one.label}]" if one is not None else None for one in (error.gold, error.predicted)
    )
    if gold is None or predicted is None:
        return f"{error.kind.value}: {gold or predicted}"
    return f"{error.kind.value}: {gold} taken for {predicted}"


def labels_of_all(*groups: Iterable[Sequence[Entity]]) -> list[str]:
    """The types of all entities, by name."""
    return sorted({entity.label for group in groups for entities in group for entity in entities})


def whole_page(title: str, labels: Sequence[str], body: str) -> str:
    """A page of parts made here, with the colours of these types explained above.

    Args:
        title: What stands above.
        labels: The types, in the order in which they got their classes.
        body: The parts, as HTML.
    """
    classes, _ = type_classes(labels)
    legend = "".join(
        f'<li><mark class="{name}">{escape(label)}</mark></li>' for label, name in classes.items()
    )
    key = f'<ul class="legend">{legend}<li>{RIGHT} right</li><li>{WRONG} wrong</li></ul>'
    return document(title, key + body, labels, STYLE)


def figures_as_html(figures: Mapping[str, Figure]) -> str:
    """Figures one below the other, each by what it shows."""
    from mner.plots.figures import figure_as_svg

    return "\n".join(f"<figure>{figure_as_svg(figure, label)}</figure>" for label, figure in figures.items())
