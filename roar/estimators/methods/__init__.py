"""One file per method, which registers it when it is imported; the registry imports every file of this folder."""
