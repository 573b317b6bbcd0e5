"""What each command does: takes its options, calls what does the work, prints. Nothing heavy is imported before it is needed."""
