"""Files and folders that survive a kill, and files as users have them. Knows no study."""
