"""How a study runs: flags, folder, resume, progress, exit status, provenance."""
