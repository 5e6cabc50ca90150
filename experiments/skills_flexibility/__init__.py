"""Whether other neurons do as well: accuracies of the 1st, 2nd, … nth disjoint set of neurons."""
