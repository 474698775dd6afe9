"""What Python calls: the functions of the command line, and results that notebooks show."""
