"""The targets, one folder each. They are imported as `bnnc.backends.NAME`, by name, through bnnc/registry.py."""

if __name__ == "backends":
    raise ImportError("import `bnnc.backends`, not `backends`: this folder is mapped into the package bnnc")
