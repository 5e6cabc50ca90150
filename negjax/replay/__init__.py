"""The one mechanism as pure functions of arrays: unperturbed pass, pull-back, rows, readout."""
