"""Every side effect, a class a capability. What goes in and out is in `activities.contracts`."""
