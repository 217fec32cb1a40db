"""How often the verdict is wrong: runs good and bad on purpose, against exact answers."""
