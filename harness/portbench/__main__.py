"""The command `portbench`, or python -m portbench."""

import sys


def main() -> None:
    try:  # the imports take as long as a person needs to see a slip
        from portbench import cli
    except KeyboardInterrupt:
        print("portbench: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    cli.main()


if __name__ == "__main__":
    main()
