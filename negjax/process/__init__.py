"""The process that negjax runs in: accelerators, memory, what other packages print, notices."""
