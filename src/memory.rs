//! Opens, wires and closes the parts, in order.
