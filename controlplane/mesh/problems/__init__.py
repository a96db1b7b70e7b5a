"""What is wrong with objects that are valid by themselves."""
