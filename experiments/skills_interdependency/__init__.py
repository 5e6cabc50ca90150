"""Whether neurons depend on each other: accuracies of forests by depth and number of trees."""
