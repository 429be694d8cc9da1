"""What commits and runs say of themselves: HEAD, facts, the log, series of metrics, how fresh a flow is."""
