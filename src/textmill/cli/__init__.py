"""Floor 8: the command line, thin. Each command reads its options, calls a stage and shows what came back."""
