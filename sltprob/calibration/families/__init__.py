"""Models on which the verdict is counted and by which no limit was chosen, by family."""
