"""What inserting a sparse coder costs in accuracy, from the records of `--suite=knots`."""
