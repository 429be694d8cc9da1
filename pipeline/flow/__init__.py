"""How a pipeline is written down: ops, flows, parameters, partitions, maps, and the graph of a call."""
