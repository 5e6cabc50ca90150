"""The process that negjax runs in: accelerators, memory, what packages print, notices, bars."""
