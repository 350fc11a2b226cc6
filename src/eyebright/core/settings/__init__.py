"""The choices of an experiment as small frozen dataclasses, validated by pydantic on creation.

One module a group, the same groups as the folders of `eyebright/recipes`. A choice between
alternatives (which model, which optimiser) is a union told apart by its `name`.
"""
