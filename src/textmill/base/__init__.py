"""Floor 0: errors, files, specs, recipes, runs, lineage, the console. Imports nothing of the house above it."""
