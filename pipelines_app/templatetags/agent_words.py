"""Words of an agent's pages."""

from django import template

from pipelines_app.naming import name_of

register = template.Library()
register.filter("name_of", name_of)
