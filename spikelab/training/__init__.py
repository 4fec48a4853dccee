"""One training loop for every chapter.

``config`` says what is run, ``tasks`` what it is run on, ``loop`` runs it, ``checkpoints`` let it go on after a kill,
``results`` keep what came out, ``curves`` and ``contact_sheet`` draw it, ``distributed`` spreads it over processes,
``frames`` make spikes of pictures, and ``commands`` are ``spikelab train`` and ``spikelab evaluate``. Importing the
package loads none of them.
"""
