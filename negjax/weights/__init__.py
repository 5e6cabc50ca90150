"""From files to parameters and back: loading, saving, conversion, the hub, families, formats."""
