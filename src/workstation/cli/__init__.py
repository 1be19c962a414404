"""The command line: nouns, then verbs."""


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    from workstation.cli.program import program

    program(prog_name="workstation")
