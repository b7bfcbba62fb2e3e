"""What the page begins with: the default generator, if there is one, and what ships with it."""

from __future__ import annotations

from linsem.errors import InputError
from linsem.palette import Category
from linsem.ui.examples import example_project
from linsem.ui.services import Services


def default_model(services: Services) -> str:
    """The default generator; "" where none is available."""
    try:
        return services.studio.default_model()
    except InputError:
        return ""


def first_categories(services: Services) -> tuple[Category, ...]:
    """The categories of the default generator, for a painter without an image."""
    model = default_model(services)
    return services.studio.categories(model) if model else ()


def built_in(services: Services) -> bool:
    """Whether the default generator ships with an extractor."""
    model = default_model(services)
    return bool(model) and services.studio.shipped(model) is not None


def has_example(services: Services) -> bool:
    """Whether an example project ships with the default generator."""
    model = default_model(services)
    return bool(model) and example_project(model) is not None
