"""The command line: one module a group of commands. Commands import their package inside the function."""
