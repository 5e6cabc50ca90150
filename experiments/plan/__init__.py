"""What a study will take of memory and time on a device, without the weights."""
