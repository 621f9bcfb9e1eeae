"""The built-in networks, one file per family; a file registers what it defines when it is imported."""
