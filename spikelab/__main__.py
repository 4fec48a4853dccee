"""``python -m spikelab``: the command line where the ``spikelab`` script is not on the path."""

from spikelab.cli import app

if __name__ == "__main__":
    app()
