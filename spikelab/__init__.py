"""spikelab: the library behind the course on spiking neural networks.

Importing the package does no work; take what you need from its modules, for example
``from spikelab.neurons import lif``.
"""

__version__ = "0.1.0"
