"""The flagship question: what lambda-hat measures for a tanh network that learns zero."""
