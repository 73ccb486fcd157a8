"""The intermediate representation: types, ops, modules."""
