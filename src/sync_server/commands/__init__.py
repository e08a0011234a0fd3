"""The commands of the command line, a module per group. Each is imported when it is called for."""
