#!/bin/sh
# Make .venv-peers, where the other libraries live: sh benchmarks/peers.sh [python3.11]
# SpikingJelly and norse ask for torchvision, whose install would bring another torch; none of what we time needs it,
# so they come without their dependencies, and what they do need is named here.
set -eu
cd "$(dirname "$0")/.."
torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.lock)
"${1:-python3}" -m venv .venv-peers
pip() { .venv-peers/bin/python -m pip "$@" --quiet --disable-pip-version-check; }
pip install "$torch" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
pip install numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2 tqdm==4.70.1 h5py==3.16.0 loguru==0.7.3 pbr==7.1.3 nir==1.0.8 nirtorch==2.6 requests==2.34.2
pip install --no-deps spikingjelly==2.0.0 norse==1.1.0 sinabs==3.1.3 tonic==1.7.0 importRosbag==1.0.4
.venv-peers/bin/python -c "import spikingjelly.activation_based.neuron, norse.torch, sinabs.layers, tonic" 2>/dev/null
echo "peers: .venv-peers/bin/python is ready; now: .venv/bin/python -m benchmarks.neurons --peers .venv-peers/bin/python"
