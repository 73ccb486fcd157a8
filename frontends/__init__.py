"""The readers of model files, one folder each, imported as `bnnc.frontends.NAME`, by name, through bnnc/registry.py."""

if __name__ == "frontends":
    raise ImportError("import `bnnc.frontends`, not `frontends`: this folder is mapped into the package bnnc")
