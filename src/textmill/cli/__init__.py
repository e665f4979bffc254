"""Floor 8: the command line, thin. Each verb reads its options, calls a stage and shows what came back."""
